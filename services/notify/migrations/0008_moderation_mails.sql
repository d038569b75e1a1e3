-- held_at: when an event said that the comment waits for a moderator; null if it was only stated so.
alter table comments add column held_at timestamptz;

-- moderation: the row is a mail that tells a moderator what waits, not one about a comment: then comment_id and post_id
-- are its own id, so that it has its place in the one queue. ended_at: when its mail ended, of rows that a mailer has
-- ended since this column is there.
alter table notifications
    drop constraint notifications_comment_id_fkey,
    add column moderation boolean not null default false,
    add column ended_at   timestamptz;

-- Which waiting comments a moderator was told of, and by which mail; a mail that was not sent has told nobody. Never pruned.
create table moderation_told (
    person_id  uuid not null,
    comment_id uuid not null,
    mail_id    uuid not null,
    primary key (person_id, comment_id)
);
create index moderation_told_mail on moderation_told (mail_id);
