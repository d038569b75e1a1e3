-- What this service knows of posts, learned from posts.events alone. Posting locks the row of the discussion, so the
-- counts and flags below are kept without races.
create table discussions (
    post_id        uuid    primary key,
    post_author_id uuid    not null,
    kind           text    not null,
    status         text    not null check (status in ('draft', 'published', 'withdrawn')),
    discussion     text    not null check (discussion in ('open', 'held', 'closed')),
    version        bigint  not null,
    visible_count  integer not null default 0 check (visible_count >= 0)
) with (fillfactor = 50);

-- id:            UUIDv7 of created_at, so the order of ids is the order of (created_at, id).
-- list_id:       the list it stands in: its parent, or at the top level the post.
-- path:          the ids from the top down to itself, 16 bytes each: byte order is depth-first order.
-- shown:         visible, or with a shown reply: everybody finds it, whole or as a tombstone.
-- reply_count:   visible direct replies; shown_replies and all_replies: those shown, and those of any state.
-- body:          null once its author removed it.
create table comments (
    id                uuid        primary key,
    post_id           uuid        not null references discussions (post_id),
    parent_id         uuid,
    list_id           uuid        not null,
    path              bytea       not null,
    depth             smallint    not null check (depth between 0 and 100),
    author_id         uuid        not null,
    parent_author_id  uuid,
    body              text,
    format            text        not null check (format in ('markdown', 'html')),
    body_html         text,
    renderer_version  smallint    not null,
    state             text        not null check (state in ('visible', 'held', 'removed')),
    removed_by_author boolean     not null default false,
    created_at        timestamptz not null,
    edited_at         timestamptz,
    version           bigint      not null default 1,
    reply_count       integer     not null default 0 check (reply_count >= 0),
    shown_replies     integer     not null default 0 check (shown_replies >= 0),
    all_replies       integer     not null default 0 check (all_replies >= 0),
    shown             boolean     not null,
    imported          boolean     not null default false,
    site              text,
    source_id         text
) with (fillfactor = 85);

-- Each order twice: what everybody reads must not cost more because of what is hidden in between.
create index comments_listed_shown on comments (list_id, id) where shown;
create index comments_listed_all on comments (list_id, id);
create index comments_deep_all on comments (path);
create index comments_deep_shown on comments (path) where shown;
create index comments_held on comments (id) where state = 'held';
create index comments_held_own on comments (author_id, post_id) where state = 'held';
create index comments_visible_of on comments (author_id, post_id) where state = 'visible';
create unique index comments_source on comments (site, source_id) where site is not null;
