-- text_key: by it the same text is recognised when the same person posts it again (`domain.comment.text_key`). Null for
--           what was imported, and once the text was edited or deleted.
alter table comments add column text_key bigint;
