-- Addresses that imported posts had before, in normal form (contracts/old_addresses.py). Two blogs may have used the same
-- one: it leads to the first post that its reader may see.
create table old_addresses (
    address text   not null,
    post_id uuid   not null references posts (id) on delete cascade,
    number  bigint not null generated always as identity,
    primary key (address, post_id)
);
create index old_addresses_post on old_addresses (post_id);
