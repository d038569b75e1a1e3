-- One row while no notification is mailed: since when and why. Operators write and delete it; a restore writes it.
create table mail_pause (
    only_row boolean     primary key default true check (only_row),
    since    timestamptz not null default now(),
    why      text        not null
);

-- version: counts the changes of a choice, so that a restored database can take the latest one from its topic.
alter table mail_choices add column version integer not null default 1;
