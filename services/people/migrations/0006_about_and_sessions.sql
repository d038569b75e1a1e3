-- about: what people say of themselves. user_agent: what began a session, as it called itself, until its person is erased;
-- last_used_at: the hour in which it was last used, null until it is used by a version that writes it.
alter table people add column about text;
alter table sessions add column user_agent text, add column last_used_at timestamptz;
