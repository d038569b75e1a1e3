-- outside a transaction
-- Twins are looked up through the indexes that count a person's comments, so posting writes into no further one.
drop index concurrently if exists comments_held_by_text;
create index concurrently comments_held_by_text on comments (author_id, post_id, text_key) where state = 'held';
