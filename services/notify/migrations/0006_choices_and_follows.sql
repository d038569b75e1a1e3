-- scope: which notifications are mailed: all of them, or replies alone. moderation: how often moderators hear of what waits.
alter table mail_choices
    add column scope      text not null default 'all'    check (scope in ('all', 'replies')),
    add column moderation text not null default 'hourly' check (moderation in ('off', 'hourly', 'daily'));

-- Who is notified of every new comment of a discussion. A row stays when somebody follows no more, with its version.
create table follows (
    id         uuid        not null unique,
    post_id    uuid        not null,
    person_id  uuid        not null,
    follows    boolean     not null,
    version    integer     not null default 1,
    changed_at timestamptz not null default now(),
    primary key (person_id, post_id)
);
create index follows_post on follows (post_id, person_id) where follows;

-- Up to which notification each person has read: ids are in the order of time.
create table reading_marks (
    person_id  uuid primary key,
    read_until uuid not null
);
