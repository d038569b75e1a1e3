-- revision: of the post's text that this service has heard of last; null until its next event. answered_revision: the one
-- that a comment is about; null in those that were imported or written before this column.
alter table discussions add column revision integer;
alter table comments add column answered_revision integer;
