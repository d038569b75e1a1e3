-- outside a transaction
-- The rows that wait, in two lines: those of followers, and all others.
drop index concurrently if exists notifications_due_in_lines;
create index concurrently notifications_due_in_lines on notifications (follower, due_at) where state = 'waiting';
