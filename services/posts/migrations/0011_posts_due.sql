-- outside a transaction
-- What the publisher looks for, and the list of what is scheduled.
drop index concurrently if exists posts_due;
create index concurrently posts_due on posts (publish_at, id) where status = 'draft' and publish_at is not null;
drop index concurrently if exists posts_scheduled;
create index concurrently posts_scheduled on posts (kind, created_at desc, id desc)
    where status = 'draft' and publish_at is not null;
