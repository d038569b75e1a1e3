-- epoch: with the version, which state of the comment this is. gone: comments says that it has no such comment.
alter table comments add column epoch bigint not null default 0, add column gone boolean not null default false;
