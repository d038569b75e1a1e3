-- outside a transaction
drop index concurrently if exists comments_visible_by_text;
create index concurrently comments_visible_by_text on comments (author_id, post_id, text_key) where state = 'visible';
