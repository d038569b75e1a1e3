-- outside a transaction
drop index concurrently if exists posts_listed;
drop index concurrently if exists posts_unpublished;
