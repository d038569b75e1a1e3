-- outside a transaction
-- Relays read the unpublished rows of a slice in the order of their ids. The last byte of a key, which is random in our
-- ids, tells its slice; by an expression, so that no row is written anew.
drop index concurrently if exists outbox_slices;
create index concurrently outbox_slices on outbox ((get_byte(uuid_send(key), 15) % 16), id) where published_at is null;
drop index concurrently if exists outbox_unpublished;
