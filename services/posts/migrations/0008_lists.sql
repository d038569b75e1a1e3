-- outside a transaction
-- Lists of posts by kind, by author, and of what is not public; tags have theirs in post_tags.
drop index concurrently if exists posts_of_kind;
create index concurrently posts_of_kind on posts (kind, published_at desc, id desc) where status = 'published';
drop index concurrently if exists posts_of_author;
create index concurrently posts_of_author on posts (author_id, kind, published_at desc, id desc)
    where status = 'published';
drop index concurrently if exists posts_unpublished_of_author;
create index concurrently posts_unpublished_of_author on posts (author_id, status, kind, created_at desc, id desc)
    where status <> 'published';
drop index concurrently if exists posts_unpublished_of_all;
create index concurrently posts_unpublished_of_all on posts (status, kind, created_at desc, id desc)
    where status <> 'published';
