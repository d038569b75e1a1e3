-- One row. A restore raises the number: what this database says from then on overtakes what was said before, whatever the
-- versions. The number goes into every event; by the default, so that no process and no older version can leave it out.
create table epoch (
    only_row  boolean     primary key default true check (only_row),
    number    bigint      not null default 0 check (number >= 0),
    raised_at timestamptz
);

insert into epoch default values;

create function present_epoch() returns bigint language sql stable return (select number from epoch);

alter table outbox add column epoch bigint not null default present_epoch();
