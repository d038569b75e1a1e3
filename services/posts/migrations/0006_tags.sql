alter table posts
    add column tags            text[]  not null default '{}',  -- as they are shown
    add column has_own_excerpt boolean not null default false,
    add column word_count      integer;  -- `rapport rerender` counts those of earlier posts

-- Each tag in the form by which tags are compared, and as it was spelt when it was used first.
create table tags (
    tag      text primary key,
    spelling text not null
);

create table post_tags (
    post_id      uuid not null references posts (id) on delete cascade,
    tag          text not null references tags (tag),
    kind         text not null,
    published_at timestamptz,  -- as in posts, null unless it is published now
    primary key (post_id, tag)
);
create index post_tags_listed on post_tags (tag, kind, published_at desc, post_id desc) where published_at is not null;
create index post_tags_counted on post_tags (kind, tag) where published_at is not null;

-- Every way of publishing and withdrawing tells the list of a tag, also that of a version which knows no tags.
create function tell_post_tags() returns trigger language plpgsql as $$
begin
    update post_tags set published_at = case when new.status = 'published' then new.published_at end
    where post_id = new.id;
    return null;
end
$$;
create trigger posts_tagged after update of status, published_at on posts for each row
when ((old.status, old.published_at) is distinct from (new.status, new.published_at))
execute function tell_post_tags();
