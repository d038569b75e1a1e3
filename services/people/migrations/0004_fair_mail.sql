-- Whose mail is asked for, without its sub-address, and a pseudonym of the network that asks. Empty in rows of a version
-- that did not say.
alter table sign_in_requests
    add column mailbox    text not null default '',
    add column requester  text not null default '',
    add column claimed_at timestamptz;

create index sign_in_requests_mailbox on sign_in_requests (mailbox) where mailbox <> '';
create index sign_in_requests_claimed on sign_in_requests (requester, claimed_at) where claimed_at is not null;
