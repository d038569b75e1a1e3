-- The id of the HTTP request that asked, so that what the mailer logs can be found by it.
alter table sign_in_requests add column correlation_id text;
