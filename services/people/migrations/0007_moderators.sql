-- outside a transaction
-- Who may moderate: few among many, asked for whenever comments wait for approval.
drop index concurrently if exists people_moderators;
create index concurrently people_moderators on people (id) where roles && array['moderator', 'admin'];
