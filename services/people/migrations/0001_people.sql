create table people (
    id               uuid        primary key,
    name             text,
    roles            text[]      not null default '{}',
    version          integer     not null default 1,
    imported         boolean     not null default false,
    created_at       timestamptz not null default now(),
    roles_changed_at timestamptz,
    erased_at        timestamptz,
    check (name is not null or erased_at is not null)
);

create index people_roles_changed on people (roles_changed_at) where roles_changed_at is not null;

-- Only confirmed addresses stand here: a row is written when a link that went there is used.
create table addresses (
    person_id    uuid        primary key references people (id),
    address      text        not null,
    lookup       text        not null unique,
    version      integer     not null default 1,
    confirmed_at timestamptz not null default now()
);

-- What an import said about its authors. The address was typed by anybody: it is a note, never looked up or mailed.
create table imported_authors (
    identity       bytea       primary key,
    person_id      uuid        not null references people (id) deferrable initially deferred,
    site           text        not null,
    source_user_id text,
    typed_name     text        not null,
    typed_address  text,
    imported_at    timestamptz not null default now()
);

create index imported_authors_person on imported_authors (person_id);

-- One row for each time somebody asked for a link, whether or not the address is known. `name` is null when it was
-- asked for by somebody who says that they have been here before.
create table sign_in_requests (
    id              uuid        primary key,
    address         text        not null,
    lookup          text        not null,
    name            text,
    created_at      timestamptz not null default now(),
    next_attempt_at timestamptz not null default now(),
    attempts        integer     not null default 0,
    lease           uuid,
    outcome         text
);

create index sign_in_requests_open on sign_in_requests (next_attempt_at) where outcome is null;
create index sign_in_requests_lookup on sign_in_requests (lookup);
create index sign_in_requests_created on sign_in_requests (created_at);

-- Links by the SHA-256 of their token. The request behind one goes after an hour; the hash stays longer, so that an
-- old link is told that it is old.
create table sign_in_links (
    token_sha256 bytea       primary key,
    request_id   uuid        references sign_in_requests (id) on delete set null,
    expires_at   timestamptz not null,
    used_at      timestamptz
);

create index sign_in_links_request on sign_in_links (request_id);
create index sign_in_links_expires on sign_in_links (expires_at);

-- A session is a family of refresh tokens, or one cookie when `cookie_sha256` is set.
create table sessions (
    id            uuid        primary key,
    person_id     uuid        not null references people (id),
    cookie_sha256 bytea       unique,
    created_at    timestamptz not null default now(),
    expires_at    timestamptz not null,
    ended_at      timestamptz
);

create index sessions_person on sessions (person_id);
create index sessions_ended on sessions (ended_at) where ended_at is not null;
create index sessions_expires on sessions (expires_at);

-- A used token is kept until it would have expired, because its second use is how theft shows. `voided` marks a
-- successor whose answer was lost and replaced.
create table refresh_tokens (
    token_sha256     bytea       primary key,
    session_id       uuid        not null references sessions (id) on delete cascade,
    expires_at       timestamptz not null,
    used_at          timestamptz,
    used_with_sha256 bytea,
    successor_sha256 bytea,
    voided           boolean     not null default false
);

create index refresh_tokens_session on refresh_tokens (session_id);
create index refresh_tokens_expires on refresh_tokens (expires_at);
