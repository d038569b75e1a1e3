-- What people.events says of people: a schedule of who is no author any more ends, pictures of the erased go.
create table people (
    person_id        uuid    primary key,
    epoch            bigint  not null,
    version          bigint  not null,
    is_author        boolean not null,
    erased_at        timestamptz,  -- when this service heard of it
    pictures_deleted boolean not null default false  -- and no more can come
);
create index people_erased on people (erased_at) where erased_at is not null and not pictures_deleted;
