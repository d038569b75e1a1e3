-- outside a transaction
-- The mails of one moderator, in the order in which they were planned.
drop index concurrently if exists notifications_moderation;
create index concurrently notifications_moderation on notifications (person_id, id) where moderation;
