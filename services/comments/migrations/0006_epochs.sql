-- epoch: with the version, which state of the post this is. gone: posts says that it has no such post.
alter table discussions add column epoch bigint not null default 0, add column gone boolean not null default false;
