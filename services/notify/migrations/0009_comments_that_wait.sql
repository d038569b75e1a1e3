-- outside a transaction
-- What waits for a moderator.
drop index concurrently if exists comments_that_wait;
create index concurrently comments_that_wait on comments (comment_id) where state = 'held';
