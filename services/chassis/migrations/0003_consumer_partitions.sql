-- How far a consumer may read: written by its brake and by operators. A partition without a row runs.
create table consumer_partitions (
    consumer_group text        not null,
    topic          text        not null,
    partition      integer     not null,
    state          text        not null check (state in ('running', 'paused', 'stopped')),
    next_offset    bigint,
    failures       integer     not null default 0,
    last_failed    bigint,
    reason         text,
    since          timestamptz not null default now(),
    skip_first     bigint,
    skip_last      bigint,
    skipping       boolean     not null default false,
    primary key (consumer_group, topic, partition)
);
