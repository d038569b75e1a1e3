-- text_key: by it the same text is recognised when the same person posts it again (`domain.comment.text_key`). Null for
--           what was imported, and once the text was edited or deleted.
-- Twins are looked up through the indexes that count a person's comments, so posting writes into no further one.
alter table comments add column text_key bigint;
drop index comments_held_own;
drop index comments_visible_of;
create index comments_held_own on comments (author_id, post_id, text_key) where state = 'held';
create index comments_visible_of on comments (author_id, post_id, text_key) where state = 'visible';
