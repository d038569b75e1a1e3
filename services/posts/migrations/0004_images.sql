-- Pictures of posts, as they are shown. They do not shrink once more, so they are not compressed.
create table images (
    id         uuid        primary key,
    author_id  uuid        not null,
    width      integer     not null,
    height     integer     not null,
    content    bytea       not null,
    free_since timestamptz not null default now()  -- when it was sent, or was last taken from a cover
);
alter table images alter column content set storage external;
create index images_author on images (author_id);
create index images_free_since on images (free_since);

alter table posts add column cover uuid references images (id) on delete set null;

-- The pictures that a text shows: whoever writes the text need not say so.
create function image_ids(body text) returns uuid[] language sql immutable parallel safe
return (
    select coalesce(array_agg(distinct found[1]::uuid), '{}')
    from regexp_matches(body, '/images/([0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})\.webp', 'gi') as found
);
