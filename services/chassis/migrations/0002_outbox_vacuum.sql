-- Every row is written once and updated once, and the relay reads past what vacuum has not yet taken away.
alter table outbox set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
