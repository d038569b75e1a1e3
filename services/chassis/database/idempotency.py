"""Idempotency keys: a repeated request gets the response of the first one, for 24 hours.

The key is stored in the transaction of the command, so a refused or crashed request leaves no key. Follows
draft-ietf-httpapi-idempotency-key-header-07, with 422 for a key that is reused for another request.
"""

import hashlib
from collections.abc import Mapping
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


UPSERT_KEPT = """
insert into idempotency_keys (person_id, key, method, path, body_sha256, status, location, subject, representation)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
on conflict (person_id, key) do update set
    method = excluded.method, path = excluded.path, body_sha256 = excluded.body_sha256, status = excluded.status,
    location = excluded.location, subject = excluded.subject, representation = excluded.representation,
    created_at = now()
"""


def row(key: Key | None, kept: Kept) -> tuple[object, ...]:
    """Return the response as parameters of a statement that stores it; without a key all are null."""
    if key is None:
        return NOTHING
    of_key = (key.person_id, key.key, key.method, key.path, key.body_sha256)
    return (*of_key, kept.status, kept.location, kept.subject, kept.representation)


async def keep(tx: Transaction, key: Key | None, kept: Kept) -> None:
    """Store the response under the key, or replace an expired one: the last step of a successful command."""
    if key is not None:
        await tx.execute(UPSERT_KEPT, *row(key, kept))


TYPES = ("uuid", "text", "text", "text", "bytea", "smallint", "text", "uuid", "jsonb")
NOTHING = (None,) * len(TYPES)

# In each statement that stores the answers of several commands.
ANSWERS = """
select person_id, key, method, path, body_sha256, status, location, subject, representation, place
from unnest(
    {values}
) with ordinality as answer (
    person_id, key, method, path, body_sha256, status, location, subject, representation, place
)
"""

# Asked of a row of `answers`. A subquery with a limit is looked up by index for each key, whatever the planner thinks
# of the table's size.
IS_FRESH = """
(answers.key is null or pg_try_advisory_xact_lock(hashtextextended(answers.person_id::text || ' ' || answers.key, 0))
    and not coalesce((
        select true from idempotency_keys as known
        where known.person_id = answers.person_id and known.key = answers.key
            and known.created_at > now() - interval '24 hours'
        limit 1
    ), false))
"""

INSERT_WITH_EACH = """
insert into idempotency_keys (person_id, key, method, path, body_sha256, status, location, subject, representation)
select person_id, key, method, path, body_sha256, status, location, subject, representation
from answers join (select place from {changed}) as changed using (place)
where key is not null
on conflict (person_id, key) do update set
    method = excluded.method, path = excluded.path, body_sha256 = excluded.body_sha256, status = excluded.status,
    location = excluded.location, subject = excluded.subject, representation = excluded.representation,
    created_at = case when idempotency_keys.created_at <= now() - interval '24 hours' then now() end
"""


def answers(taken: int) -> str:
    """Return the subquery `answers` of a statement: one made by `row` for each command, numbered from 1 by `place`.

    The statement stores only those of which `IS_FRESH` is true: it locks the key, and is false when it is in progress
    elsewhere, or stored. A key that is not fresh needs `lock_and_find` in a transaction of its own.

    Args:
        taken: how many parameters the statement has before those of the answers.
    """
    return ANSWERS.format(values=", ".join(f"(select ${n}::{kind}[])" for n, kind in enumerate(TYPES, taken + 1)))


def insert_with_each(changed: str) -> str:
    """Return the part of a statement that stores the answer for each `place` of the subquery `changed`.

    A key that another transaction has stored between the statement's snapshot and its lock gets no `created_at`, which
    violates a constraint: the statement fails, and nothing of it is written.
    """
    return INSERT_WITH_EACH.format(changed=changed)


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
