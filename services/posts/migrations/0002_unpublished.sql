create index posts_unpublished on posts (author_id, status, created_at desc, id desc)
    where status <> 'published' and kind = 'post';
