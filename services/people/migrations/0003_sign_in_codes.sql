-- `public_id` is what the one who asked holds of a request; null in those of an older version, whose mail has no code.
-- `form_sha256` is of the form that asked, if a page of ours did, and of what was typed. `code_tries` counts every code
-- that was sent with the request. `return_to` and `challenge` are those of a front end elsewhere.
alter table sign_in_requests
    add column public_id text,
    add column form_sha256 bytea,
    add column code_tries integer not null default 0,
    add column return_to text,
    add column challenge text;

create unique index sign_in_requests_public_id on sign_in_requests (public_id);
create index sign_in_requests_form on sign_in_requests (form_sha256) where form_sha256 is not null;

-- The SHA-256 of the nonce of the browser that used the link.
alter table sign_in_links add column nonce_sha256 bytea;

-- One row for each wrong code, whether or not the address is known.
create table sign_in_wrong_codes (
    lookup   text        not null,
    tried_at timestamptz not null default clock_timestamp()
);

create index sign_in_wrong_codes_lookup on sign_in_wrong_codes (lookup, tried_at);
create index sign_in_wrong_codes_tried on sign_in_wrong_codes (tried_at);

-- A sign-in that a front end elsewhere has still to fetch, by the SHA-256 of its code.
create table hand_overs (
    code_sha256 bytea       primary key,
    person_id   uuid        not null references people (id),
    challenge   text        not null,
    expires_at  timestamptz not null,
    used_at     timestamptz
);

create index hand_overs_person on hand_overs (person_id);
create index hand_overs_expires on hand_overs (expires_at);
