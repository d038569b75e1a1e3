-- Pictures of people, as they are shown: WebP, which does not shrink once more.
create table avatars (
    person_id uuid  primary key references people (id),
    digest    text  not null,
    content   bytea not null
);
alter table avatars alter column content set storage external;
