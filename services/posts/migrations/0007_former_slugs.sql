-- Slugs under which a post was public and is not any more: they lead to it, and no other post may have them.
create table former_slugs (
    slug    text primary key,
    post_id uuid not null references posts (id) on delete cascade
);
create index former_slugs_post on former_slugs (post_id);
