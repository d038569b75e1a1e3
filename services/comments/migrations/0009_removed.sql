-- outside a transaction
-- What moderators may still read of what was removed, newest first.
drop index concurrently if exists comments_removed;
create index concurrently comments_removed on comments (id) where state = 'removed' and not removed_by_author;
