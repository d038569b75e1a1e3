-- outside a transaction
-- The newest comments of a discussion, wherever in its tree they stand: for feeds.
drop index concurrently if exists comments_newest;
create index concurrently comments_newest on comments (post_id, id) where state = 'visible';
