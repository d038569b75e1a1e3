-- A claim and a freeze change no indexed column any more, so they stay within the row's page and touch no index.
drop index notifications_leased;
alter table notifications set (fillfactor = 60);
