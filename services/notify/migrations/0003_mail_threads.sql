-- After which revision's title the mails to a person about a post are named: that of the first of them. Only the number
-- is kept here; posts has the title, and when it goes there, it is named in no mail any more.
create table mail_threads (
    person_id uuid    not null,
    post_id   uuid    not null,
    revision  integer not null,
    primary key (person_id, post_id)
);
