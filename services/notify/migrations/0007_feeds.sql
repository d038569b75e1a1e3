-- The secret address of each person's feed of answers: only its hash is here, like that of every secret.
create table feeds (
    person_id    uuid  primary key,
    token_sha256 bytea not null unique
);
