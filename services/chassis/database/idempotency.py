"""Idempotency keys: a repeated request gets the response of the first one, for 24 hours.

The key is stored in the transaction of the command, so a refused or crashed request leaves no key. Follows
draft-ietf-httpapi-idempotency-key-header-07, with 422 for a key that is reused for another request.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson

from services.chassis.database.pool import Transaction
from services.chassis.errors import Problem, invalid
from services.contracts.ids import is_id


@dataclass(frozen=True)
class Key:
    """The idempotency key of one request; keys are unique per person.

    Attributes:
        body_sha256: digest of the body as canonical JSON, independent of white space and the order of members.
    """

    person_id: UUID
    key: str
    method: str
    path: str
    body_sha256: bytes


@dataclass(frozen=True)
class CommandResult:
    """The result of a command: the resource after it, or after the first request with the same key.

    Attributes:
        representation: the resource as its service shows it, without names of people; empty without a resource.
        replayed: the result of an earlier request with the same key.
    """

    status: int
    representation: dict[str, Any] = field(default_factory=dict)
    location: str | None = None
    replayed: bool = False


@dataclass(frozen=True)
class Kept:
    """The stored response of the first request. `representation` is that of `CommandResult`."""

    status: int
    location: str | None
    subject: UUID | None
    representation: dict[str, Any] | None


def digest(body: object) -> bytes:
    """Return the SHA-256 of the canonical form of a JSON value."""
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).digest()


def key_of(person_id: UUID, key: str, method: str, path: str, body: object) -> Key:
    """Return the idempotency key of a request with this JSON value as its body.

    Raises:
        Problem: `invalid` for an integer beyond 64 bits.
    """
    try:
        of_body = digest(_with_ids_in_lower_case(body))
    except TypeError:  # an integer beyond 64 bits, which no field accepts
        raise invalid("", "holds a number that is too large") from None
    return Key(person_id, key, method, path, of_body)


def _with_ids_in_lower_case(value: Any) -> Any:
    """Return a body in which an id has one spelling, because its case of letters means nothing."""
    if not isinstance(value, dict):
        return value
    return {
        name: item.lower() if name.endswith("_id") and isinstance(item, str) and is_id(item) else item
        for name, item in value.items()
    }


TRY_LOCK = "select pg_try_advisory_xact_lock(hashtextextended($1::text || ' ' || $2, 0))"

SELECT_KEPT = """
select method, path, body_sha256, status, location, subject, representation
from idempotency_keys
where person_id = $1 and key = $2 and created_at > now() - interval '24 hours'
"""


async def lock_and_find(tx: Transaction, key: Key | None) -> Kept | None:
    """Lock the key and return the stored response, or None if the key is new or None: the first step of a command.

    Raises:
        Problem: `still-running` while the first request is in progress; `idempotency-key-reused` when method, path or
            body differ from the first request.
    """
    if key is None:
        return None
    if not await tx.fetchval(TRY_LOCK, str(key.person_id), key.key):
        raise Problem("still-running", headers={"Retry-After": "1"})
    row = await tx.fetchrow(SELECT_KEPT, key.person_id, key.key)
    if row is None:
        return None
    if (row["method"], row["path"], row["body_sha256"]) != (key.method, key.path, key.body_sha256):
        raise Problem("idempotency-key-reused", "The key was used for another request within the last 24 hours.")
    return Kept(row["status"], row["location"], row["subject"], row["representation"])


# A lateral subquery with a limit is looked up by index for each key, whatever the planner thinks of the table's size.
TRY_FRESH = """
select pg_try_advisory_xact_lock(hashtextextended(asked.person_id::text || ' ' || asked.key, 0))
    and kept.found is null as is_fresh
from unnest($1::uuid[], $2::text[]) with ordinality as asked (person_id, key, place)
left join lateral (
    select true as found from idempotency_keys as known
    where known.person_id = asked.person_id and known.key = asked.key
        and known.created_at > now() - interval '24 hours'
    limit 1
) as kept on true
order by asked.place
"""


async def are_fresh(tx: Transaction, keys: Sequence[Key]) -> list[bool]:
    """Lock these distinct keys and return, in their order, which are neither in progress elsewhere nor stored.

    For commands that share a transaction; a key that is not fresh needs `lock_and_find` in a transaction of its own. A
    key may be stored between the statement's snapshot and its lock: `keep_new` finds that out.
    """
    rows = await tx.fetch(TRY_FRESH, [key.person_id for key in keys], [key.key for key in keys])
    return [row["is_fresh"] for row in rows]


UPSERT_KEPT = """
insert into idempotency_keys (person_id, key, method, path, body_sha256, status, location, subject, representation)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
on conflict (person_id, key) do update set
    method = excluded.method, path = excluded.path, body_sha256 = excluded.body_sha256, status = excluded.status,
    location = excluded.location, subject = excluded.subject, representation = excluded.representation,
    created_at = now()
"""


def _row(key: Key, kept: Kept) -> tuple[object, ...]:
    of_key = (key.person_id, key.key, key.method, key.path, key.body_sha256)
    return (*of_key, kept.status, kept.location, kept.subject, kept.representation)


async def keep(tx: Transaction, key: Key | None, kept: Kept) -> None:
    """Store the response under the key, or replace an expired one: the last step of a successful command."""
    if key is not None:
        await tx.execute(UPSERT_KEPT, *_row(key, kept))


INSERT_NEW = """
insert into idempotency_keys (person_id, key, method, path, body_sha256, status, location, subject, representation)
select * from unnest(
    (select $1::uuid[]), (select $2::text[]), (select $3::text[]), (select $4::text[]), (select $5::bytea[]),
    (select $6::smallint[]), (select $7::text[]), (select $8::uuid[]), (select $9::jsonb[])
)
on conflict (person_id, key) do update set
    method = excluded.method, path = excluded.path, body_sha256 = excluded.body_sha256, status = excluded.status,
    location = excluded.location, subject = excluded.subject, representation = excluded.representation,
    created_at = now()
where idempotency_keys.created_at <= now() - interval '24 hours'
"""


class KeyTaken(Exception):
    """A key that was fresh a moment ago was stored by another transaction meanwhile."""


async def keep_new(tx: Transaction, responses: Sequence[tuple[Key, Kept]]) -> None:
    """Store the responses of several commands that share a transaction, whose keys `are_fresh`.

    Raises:
        KeyTaken: one of them is not; the transaction must be rolled back.
    """
    if responses:
        columns = zip(*(_row(key, kept) for key, kept in responses), strict=True)
        if await tx.execute(INSERT_NEW, *columns) < len(responses):
            raise KeyTaken


BLANK = """
update idempotency_keys
set representation = representation || (
    select coalesce(jsonb_object_agg(field, null), '{}'::jsonb) from unnest($2::text[]) as field
    where representation ? field
)
where subject = $1 and representation @> $3
"""


async def blank(tx: Transaction, subject: UUID, fields: list[str], having: Mapping[str, Any] | None = None) -> None:
    """Set these fields to null in the stored responses about `subject`, removed or erased in this transaction.

    Args:
        having: only in those responses that have these members.
    """
    await tx.execute(BLANK, subject, fields, dict(having or {}))


PRUNE = """
delete from idempotency_keys
where (person_id, key) in (
    select person_id, key from idempotency_keys
    where created_at < now() - interval '24 hours'
    order by created_at
    limit $1
)
"""


async def prune(tx: Transaction, most: int) -> int:
    """Delete up to `most` expired keys; return how many, fewer than `most` if none are left."""
    return await tx.execute(PRUNE, most)
