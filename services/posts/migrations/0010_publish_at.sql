-- When a draft is to be published, and who said so; it means nothing of a post that is no draft any more.
alter table posts add column publish_at timestamptz, add column scheduled_by uuid;
