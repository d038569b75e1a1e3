-- When a draft is to be published; it means nothing of a post that is no draft any more.
alter table posts add column publish_at timestamptz;
