-- outside a transaction
drop index concurrently if exists posts_unpublished;
create index concurrently posts_unpublished on posts (author_id, status, created_at desc, id desc)
    where status <> 'published' and kind = 'post';
