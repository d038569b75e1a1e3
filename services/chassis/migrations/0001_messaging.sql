create table outbox (
    id             bigint generated always as identity primary key,
    event_id       uuid        not null unique,
    topic          text        not null,
    type           text        not null,
    source         text        not null,
    subject        uuid        not null,
    key            uuid        not null,
    time           timestamptz not null,
    correlation_id text,
    causation_id   uuid,
    traceparent    text,
    payload        bytea       not null,
    published_at   timestamptz
);

create index outbox_unpublished on outbox (id) where published_at is null;
create index outbox_published on outbox (published_at) where published_at is not null;

-- Rows outlive topic retention, outbox retention and the oldest dead letter.
create table inbox (
    source      text        not null,
    event_id    uuid        not null,
    received_at timestamptz not null default now(),
    primary key (source, event_id)
);

create index inbox_received on inbox (received_at);

create table idempotency_keys (
    person_id      uuid        not null,
    key            text        not null,
    method         text        not null,
    path           text        not null,
    body_sha256    bytea       not null,
    status         smallint    not null,
    location       text,
    subject        uuid,
    representation jsonb,
    created_at     timestamptz not null default now(),
    primary key (person_id, key)
);

create index idempotency_keys_created on idempotency_keys (created_at);
create index idempotency_keys_subject on idempotency_keys (subject) where subject is not null;
