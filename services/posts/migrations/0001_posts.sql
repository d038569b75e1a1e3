create table posts (
    id               uuid        primary key,
    kind             text        not null check (kind in ('post', 'page')),
    slug             text        not null,
    title            text        not null,
    body             text        not null,
    format           text        not null check (format in ('markdown', 'html')),
    body_html        text        not null,
    renderer_version integer     not null,
    excerpt          text        not null,
    author_id        uuid        not null,
    status           text        not null check (status in ('draft', 'published', 'withdrawn')),
    discussion       text        not null check (discussion in ('open', 'held', 'closed')),
    created_at       timestamptz not null,
    published_at     timestamptz check (status = 'draft' or published_at is not null),
    edited_at        timestamptz,
    edit_note        text,
    revision         integer     not null,
    version          integer     not null,
    imported         boolean     not null,
    site             text,
    source_id        text,
    check ((site is null) = (source_id is null))
);

create unique index posts_slug on posts (slug);
create unique index posts_source on posts (site, source_id) where site is not null;
create index posts_listed on posts (published_at desc, id desc) where status = 'published' and kind = 'post';

-- Every text a post ever had, the present one too.
create table revisions (
    post_id    uuid        not null references posts (id) on delete cascade,
    revision   integer     not null,
    title      text        not null,
    body       text        not null,
    edit_note  text,
    created_at timestamptz not null,
    primary key (post_id, revision)
);
