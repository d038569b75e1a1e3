-- What notify knows of a comment: structure and flags from comments.events, never its text. Never pruned.
create table comments (
    comment_id       uuid        primary key,
    post_id          uuid        not null,
    post_author_id   uuid        not null,
    parent_id        uuid,
    parent_author_id uuid,
    author_id        uuid        not null,
    state            text        not null check (state in ('visible', 'held', 'removed')),
    imported         boolean     not null,
    version          integer     not null,
    created_at       timestamptz not null
);

-- One row for each person and comment, for ever: the ledger. While a row waits it is also the mailer's work list.
create table notifications (
    person_id      uuid        not null,
    comment_id     uuid        not null references comments (comment_id),
    id             uuid        not null unique,
    post_id        uuid        not null,
    reasons        text[]      not null,
    state          text        not null check (state in ('waiting', 'sent', 'skipped', 'failed')),
    why            text,
    -- It waited at least once, so the comment was visible: the person may know of it.
    announced      boolean     not null,
    version        integer     not null default 1,
    created_at     timestamptz not null default now(),
    sent_at        timestamptz,
    correlation_id text,
    causation_id   uuid,
    due_at         timestamptz,
    attempts       integer     not null default 0,
    first_tried_at timestamptz,
    lease_token    uuid,
    lease_until    timestamptz,
    -- The whole message while the outcome of an attempt is unknown, and the version of the address it was built for.
    frozen         bytea,
    frozen_for     integer,
    message_id     text,
    message_sha256 bytea,
    smtp_answer    text,
    primary key (person_id, comment_id),
    check ((why is null) = (state in ('waiting', 'sent'))),
    check ((due_at is null) = (state <> 'waiting')),
    check (frozen is null or state = 'waiting'),
    check ((sent_at is null) = (state <> 'sent'))
);

create index notifications_due on notifications (due_at) where state = 'waiting';
create index notifications_leased on notifications (lease_token) where lease_token is not null;
create index notifications_comment on notifications (comment_id);
create index notifications_newest on notifications (person_id, id desc) where announced;

-- The choice to hear nothing. Who is not in here hears.
create table mail_choices (
    person_id     uuid        primary key,
    notifications boolean     not null,
    changed_at    timestamptz not null default now()
);

-- Addresses that a server called bad, by their version at people; a new address of the same person is tried again.
create table suppressions (
    person_id       uuid        not null,
    address_version integer     not null,
    smtp_answer     text        not null,
    created_at      timestamptz not null default now(),
    primary key (person_id, address_version)
);
