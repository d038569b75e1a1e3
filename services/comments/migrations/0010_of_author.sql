-- outside a transaction
-- What one person wrote, for themselves.
drop index concurrently if exists comments_of_author;
create index concurrently comments_of_author on comments (author_id, id);
