-- Each text has an id, so that two of them with one number can be told apart: of a draft, and of before and after a
-- restore. Null: a text that was written before there were ids, or that a post was created with (domain/post.py).
alter table posts add column text_id uuid;
-- A revision without title and text was blanked.
alter table revisions add column text_id uuid, alter column title drop not null, alter column body drop not null;
