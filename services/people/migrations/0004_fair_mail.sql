-- Whose mail is asked for, without its sub-address; a pseudonym of the network that asks; and when it is its turn. Empty in
-- rows of a version that did not say.
alter table sign_in_requests
    add column mailbox   text   not null default '',
    add column requester text   not null default '',
    add column turn      bigint not null default 0;

create index sign_in_requests_mailbox on sign_in_requests (mailbox) where mailbox <> '';
create index sign_in_requests_requester on sign_in_requests (requester, turn);
create index sign_in_requests_turn on sign_in_requests (turn, next_attempt_at) where outcome is null;
create index sign_in_requests_claimed on sign_in_requests (turn) where attempts > 0;
