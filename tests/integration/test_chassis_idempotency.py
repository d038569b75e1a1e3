"""Idempotency keys on a real PostgreSQL."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from services.chassis.database import idempotency
from services.chassis.database.idempotency import Kept, Key
from services.chassis.errors import Problem
from tests.conftest import NewDatabase, OwnDatabase


@pytest.fixture
async def db(new_database: NewDatabase) -> OwnDatabase:
    return await new_database("services.chassis")


@pytest.fixture
def key() -> Key:
    return Key(uuid4(), "key-1", "POST", "/posts", idempotency.digest({"title": "a"}))


KEPT = Kept(201, "/v1/posts/7", uuid4(), {"id": "7", "body": "text", "body_html": "<p>text</p>", "parent_id": None})


async def replay(db: OwnDatabase, key: Key | None) -> Kept | None:
    async with db.transaction() as tx:
        return await idempotency.lock_and_find(tx, key)


async def keep(db: OwnDatabase, key: Key | None, kept: Kept = KEPT) -> None:
    async with db.transaction() as tx:
        await idempotency.keep(tx, key, kept)


async def test_first_response_is_replayed(db: OwnDatabase, key: Key) -> None:
    assert await replay(db, key) is None
    await keep(db, key)
    assert await replay(db, key) == KEPT


async def test_without_a_key_no_response_is_stored(db: OwnDatabase) -> None:
    await keep(db, None)
    assert await replay(db, None) is None


@pytest.mark.parametrize("change", [{"method": "PATCH"}, {"path": "/posts/7"}, {"body_sha256": b"other"}])
async def test_key_reused_for_another_request_is_refused(db: OwnDatabase, key: Key, change: dict[str, Any]) -> None:
    await keep(db, key)
    with pytest.raises(Problem) as caught:
        await replay(db, replace(key, **change))
    assert caught.value.kind == "idempotency-key-reused"


async def test_key_belongs_to_one_person(db: OwnDatabase, key: Key) -> None:
    await keep(db, key)
    assert await replay(db, replace(key, person_id=uuid4())) is None


async def test_failed_command_leaves_no_key(db: OwnDatabase, key: Key) -> None:
    with pytest.raises(ValueError, match="no"):
        async with db.transaction() as tx:
            await idempotency.lock_and_find(tx, key)
            await idempotency.keep(tx, key, KEPT)
            raise ValueError("no")
    assert await replay(db, key) is None


async def test_second_request_during_the_first_is_refused(db: OwnDatabase, key: Key) -> None:
    async with db.transaction() as tx:
        assert await idempotency.lock_and_find(tx, key) is None
        with pytest.raises(Problem) as caught:
            await asyncio.wait_for(replay(db, key), 2)
        assert caught.value.kind == "still-running"
        assert caught.value.headers == {"Retry-After": "1"}
        assert await replay(db, replace(key, key="key-2")) is None
        await idempotency.keep(tx, key, KEPT)
    assert await replay(db, key) == KEPT


async def test_one_of_many_concurrent_requests_runs_the_command(db: OwnDatabase, key: Key) -> None:
    done = 0

    async def command() -> str:
        nonlocal done
        try:
            async with db.transaction() as tx:
                if await idempotency.lock_and_find(tx, key):
                    return "replayed"
                await tx.fetchval("select pg_sleep(0.05)")
                await idempotency.keep(tx, key, KEPT)
        except Problem as problem:
            return problem.kind
        done += 1
        return "done"

    outcomes = await asyncio.gather(*(command() for _ in range(8)))
    assert done == outcomes.count("done") == 1
    assert set(outcomes) <= {"done", "still-running", "replayed"}


async def test_key_expires_after_a_day(db: OwnDatabase, key: Key) -> None:
    await keep(db, key)
    async with db.transaction() as tx:
        await tx.execute("update idempotency_keys set created_at = now() - interval '24 hours 1 second'")
    assert await replay(db, replace(key, path="/elsewhere")) is None
    later = Kept(200, None, None, None)
    await keep(db, replace(key, path="/elsewhere"), later)
    assert await replay(db, replace(key, path="/elsewhere")) == later


async def test_text_of_a_removed_subject_is_blanked(db: OwnDatabase, key: Key) -> None:
    other = replace(key, key="key-2")
    await keep(db, key)
    await keep(db, other, replace(KEPT, subject=uuid4()))
    assert KEPT.subject is not None
    async with db.transaction() as tx:
        await idempotency.blank(tx, KEPT.subject, ["body", "body_html", "title"])
    blanked = await replay(db, key)
    assert blanked is not None
    assert blanked.representation == {"id": "7", "body": None, "body_html": None, "parent_id": None}
    untouched = await replay(db, other)
    assert untouched is not None
    assert untouched.representation == KEPT.representation


def test_equal_json_has_equal_digests() -> None:
    assert idempotency.digest({"a": 1, "b": [1, 2]}) == idempotency.digest({"b": [1, 2], "a": 1})
    assert idempotency.digest({"a": [1, 2]}) != idempotency.digest({"a": [2, 1]})
    assert idempotency.digest({"a": "é"}) == idempotency.digest({"a": "\u00e9"})
    assert len(idempotency.digest(None)) == 32
