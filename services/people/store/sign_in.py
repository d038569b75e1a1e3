"""Rows of sign-in requests as the mailer works on them, and the links it draws; see `asking` and `link_use` too.

A transaction that draws, uses, voids or deletes links of an address calls `lock_address` first: otherwise a link that
is drawn while another one is used would not be voided, and two that lock rows of links and requests in different orders
would wait for each other. What works on requests of many addresses at once has no such lock, and waits for no row.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from services.chassis.database.pool import Reader, Transaction
from services.chassis.mail.addresses import Address
from services.contracts.people import LINK_LIFE

LOCK_ADDRESS = "select pg_advisory_xact_lock(hashtextextended('sign-in ' || $1, 0))"


async def lock_address(tx: Transaction, lookup: str) -> None:
    """Lock the links of this address, known or not, and of its mailbox's other addresses until the transaction ends."""
    await tx.execute(LOCK_ADDRESS, Address(lookup, lookup).base)


# Longer than other locks are waited for: somebody has pressed a button twice, and waits for the first press.
BE_PATIENT = "select set_config('lock_timeout', '4s', true)"


async def wait_for_address(tx: Transaction, lookup: str) -> None:
    """Lock the links of this address as `lock_address` does, even while a slow press of the same button lasts."""
    await tx.fetchval(BE_PATIENT)
    await lock_address(tx, lookup)


@dataclass(frozen=True)
class Claimed:
    """A request leased to one mailer. Writes about it filter on the lease, so a late write changes nothing."""

    id: UUID
    lease: UUID
    address: Address
    registers: bool
    attempts: int
    correlation_id: str | None = None
    public_id: str | None = None


# `sign_in_requests_open` of 0001 serves the order of versions before `turn` alone; a later migration may drop it.
CLAIM = """
update sign_in_requests
set lease = $1, attempts = attempts + 1, next_attempt_at = now() + $2::interval
where id in (
    select id from sign_in_requests
    where outcome is null and next_attempt_at <= now() and created_at > now() - $3::interval
    order by turn, next_attempt_at
    limit $4
    for update skip locked
)
returning id, address, lookup, name is not null as registers, attempts, correlation_id, public_id
"""


async def claim(tx: Transaction, lease: UUID, lease_life: timedelta, most: int) -> list[Claimed]:
    """Claim up to `most` due requests by their turns. Requests older than a link's life are no longer due."""
    rows = await tx.fetch(CLAIM, lease, lease_life, LINK_LIFE, most)
    return [
        Claimed(
            row["id"],
            lease,
            Address(row["address"], row["lookup"]),
            row["registers"],
            row["attempts"],
            row["correlation_id"],
            row["public_id"],
        )
        for row in rows
    ]


RENEW = """
update sign_in_requests set next_attempt_at = now() + $2::interval
where id in (
    select id from sign_in_requests
    where lease = any($1::uuid[]) and outcome is null and next_attempt_at > now()
    order by id
    for update skip locked
)
"""


async def renew(tx: Transaction, leases: Collection[UUID], lease_life: timedelta) -> None:
    """Prolong these leases, except those that have expired, or whose rows are locked: they have another turn."""
    await tx.execute(RENEW, list(leases), lease_life)


IS_LEASED = """
select exists (
    select from sign_in_requests
    where id = $1 and lease = $2 and outcome is null and next_attempt_at > now() and created_at > now() - $3::interval
)
"""


async def is_leased(tx: Transaction, request: Claimed) -> bool:
    """Return whether the request is still open, and still under this lease."""
    return bool(await tx.fetchval(IS_LEASED, request.id, request.lease, LINK_LIFE))


FINISH = "update sign_in_requests set outcome = $3 where id = $1 and lease = $2 and outcome is null"


async def finish(tx: Transaction, request: Claimed, outcome: str) -> None:
    """Record the outcome of the request, unless its lease is lost."""
    await tx.execute(FINISH, request.id, request.lease, outcome)


# Nor do those that the mail server keeps refusing go first.
POSTPONE = """
update sign_in_requests set next_attempt_at = now() + $3::interval, lease = null,
    turn = greatest(turn, (select max(turn) from sign_in_requests where attempts > 0))
where id = $1 and lease = $2 and outcome is null
"""


async def postpone(tx: Transaction, request: Claimed, delay: timedelta) -> None:
    """End the lease, and make the request due after `delay`."""
    await tx.execute(POSTPONE, request.id, request.lease, delay)


COUNT_LIVE = """
select count(*)
from sign_in_links join sign_in_requests on sign_in_requests.id = sign_in_links.request_id
where sign_in_requests.lookup = $1 and sign_in_links.used_at is null and sign_in_links.expires_at > now()
"""


async def live_links(tx: Transaction, lookup: str) -> int:
    """Return how many links of this address can be used now; for each a mail was sent, or may have been."""
    return int(await tx.fetchval(COUNT_LIVE, lookup))


COUNT_UNCONFIRMED = """
select count(*)
from sign_in_links join sign_in_requests on sign_in_requests.id = sign_in_links.request_id
where sign_in_requests.mailbox = $1 and sign_in_links.expires_at > now() + $2::interval - interval '1 hour'
    and not exists (select from addresses where addresses.lookup = sign_in_requests.lookup)
"""


async def unconfirmed_mails(tx: Transaction, mailbox: str) -> int:
    """Return how many mails of the last hour went to unconfirmed addresses of this mailbox, or may have gone."""
    return int(await tx.fetchval(COUNT_UNCONFIRMED, mailbox, LINK_LIFE))


INSERT_LINK = """
insert into sign_in_links (token_sha256, request_id, expires_at) values ($1, $2, now() + $3::interval)
"""


async def insert_link(tx: Transaction, token_sha256: bytes, request_id: UUID) -> None:
    """Insert a link by the hash of its token."""
    await tx.execute(INSERT_LINK, token_sha256, request_id, LINK_LIFE)


DELETE_LINK = "delete from sign_in_links where token_sha256 = $1 and nonce_sha256 is null"


async def delete_link(tx: Transaction, token_sha256: bytes) -> None:
    """Delete a link whose mail was certainly not delivered.

    One that a browser has used by the code, which an earlier mail brought, stays: the button may be pressed again.
    """
    await tx.execute(DELETE_LINK, token_sha256)


VOID_LINKS = """
update sign_in_links set used_at = now()
from sign_in_requests
where sign_in_requests.id = sign_in_links.request_id and sign_in_requests.lookup = $1
    and sign_in_links.used_at is null and sign_in_links.expires_at > now()
"""
SUPERSEDE_REQUESTS = """
update sign_in_requests set outcome = 'superseded'
where lookup = $1 and outcome is null and created_at > now() - $2::interval
"""


async def void_links(tx: Transaction, lookup: str) -> None:
    """Void every link of this address, and end its open requests, so that none of them draws another.

    Expired rows are left out, so that this never locks rows that `prune` deletes.
    """
    await tx.execute(VOID_LINKS, lookup)
    await tx.execute(SUPERSEDE_REQUESTS, lookup, LINK_LIFE)


DELETE_REQUESTS = "delete from sign_in_requests where lookup = $1"


async def forget_address(tx: Transaction, lookup: str) -> None:
    """Void the links of this address and delete its requests."""
    await void_links(tx, lookup)
    await tx.execute(DELETE_REQUESTS, lookup)


COUNT_OPEN = """
select count(*) as waiting, coalesce(extract(epoch from now() - min(created_at)), 0)::float as oldest
from sign_in_requests
where outcome is null and created_at > now() - $1::interval
"""


async def backlog(reader: Reader) -> tuple[int, float]:
    """Return how many requests wait for their mail, and for how many seconds the oldest has waited."""
    row = await reader.fetchrow(COUNT_OPEN, LINK_LIFE)
    return (0, 0.0) if row is None else (row["waiting"], row["oldest"])


# A mail may go out as long after its request as a link lives, and counts for an hour; see COUNT_UNCONFIRMED.
PRUNE_REQUESTS = """
delete from sign_in_requests
where id in (
    select id from sign_in_requests where created_at < now() - $1::interval - interval '1 hour'
    order by id
    for update skip locked
)
"""
PRUNE_LINKS = "delete from sign_in_links where expires_at < now() - interval '30 days'"


async def prune(tx: Transaction) -> int:
    """Delete requests, with their addresses, an hour after their links, and the hashes of links after 30 days."""
    return await tx.execute(PRUNE_REQUESTS, LINK_LIFE) + await tx.execute(PRUNE_LINKS)


DELETE_ALL_REQUESTS = "delete from sign_in_requests"
EXPIRE_ALL_LINKS = "update sign_in_links set expires_at = least(expires_at, now())"


async def end_all(tx: Transaction) -> int:
    """Delete every request, with its address, and let every link expire; return how many requests there were."""
    await tx.execute(EXPIRE_ALL_LINKS)
    return await tx.execute(DELETE_ALL_REQUESTS)


RELEASE_LEASES = (
    "update sign_in_requests set lease = null, next_attempt_at = now() where lease is not null and outcome is null"
)


async def release_leases(tx: Transaction) -> int:
    """End every lease: after a restore nobody holds them. Returns how many there were."""
    return await tx.execute(RELEASE_LEASES)
