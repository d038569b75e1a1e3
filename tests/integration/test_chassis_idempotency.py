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
async def database(new_database: NewDatabase) -> OwnDatabase:
    return await new_database("services.chassis")


@pytest.fixture
def key() -> Key:
    return Key(uuid4(), "key-1", "POST", "/posts", idempotency.digest({"title": "a"}))


KEPT = Kept(201, "/v1/posts/7", uuid4(), {"id": "7", "body": "text", "body_html": "<p>text</p>", "parent_id": None})


async def replay(database: OwnDatabase, key: Key | None) -> Kept | None:
    async with database.transaction() as tx:
        return await idempotency.replay(tx, key)


async def keep(database: OwnDatabase, key: Key | None, kept: Kept = KEPT) -> None:
    async with database.transaction() as tx:
        await idempotency.keep(tx, key, kept)


async def test_the_first_answer_is_the_answer(database: OwnDatabase, key: Key) -> None:
    assert await replay(database, key) is None
    await keep(database, key)
    assert await replay(database, key) == KEPT


async def test_without_a_key_nothing_is_kept(database: OwnDatabase) -> None:
    await keep(database, None)
    assert await replay(database, None) is None


@pytest.mark.parametrize("change", [{"method": "PATCH"}, {"path": "/posts/7"}, {"body_sha256": b"other"}])
async def test_another_request_under_the_key_is_refused(
    database: OwnDatabase, key: Key, change: dict[str, Any]
) -> None:
    await keep(database, key)
    with pytest.raises(Problem) as caught:
        await replay(database, replace(key, **change))
    assert caught.value.kind == "idempotency-key-reused"


async def test_a_key_belongs_to_one_person(database: OwnDatabase, key: Key) -> None:
    await keep(database, key)
    assert await replay(database, replace(key, person_id=uuid4())) is None


async def test_a_command_that_fails_leaves_nothing(database: OwnDatabase, key: Key) -> None:
    with pytest.raises(ValueError, match="no"):
        async with database.transaction() as tx:
            await idempotency.replay(tx, key)
            await idempotency.keep(tx, key, KEPT)
            raise ValueError("no")
    assert await replay(database, key) is None


async def test_while_the_first_is_at_work_the_second_is_told_so(database: OwnDatabase, key: Key) -> None:
    async with database.transaction() as tx:
        assert await idempotency.replay(tx, key) is None
        with pytest.raises(Problem) as caught:
            await asyncio.wait_for(replay(database, key), 2)
        assert caught.value.kind == "still-running"
        assert caught.value.headers == {"Retry-After": "1"}
        assert await replay(database, replace(key, key="key-2")) is None
        await idempotency.keep(tx, key, KEPT)
    assert await replay(database, key) == KEPT


async def test_one_of_many_at_once_does_the_work(database: OwnDatabase, key: Key) -> None:
    done = 0

    async def command() -> str:
        nonlocal done
        try:
            async with database.transaction() as tx:
                if await idempotency.replay(tx, key):
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


async def test_after_a_day_the_key_is_free(database: OwnDatabase, key: Key) -> None:
    await keep(database, key)
    async with database.transaction() as tx:
        await tx.execute("update idempotency_keys set created_at = now() - interval '24 hours 1 second'")
    assert await replay(database, replace(key, path="/elsewhere")) is None
    later = Kept(200, None, None, None)
    await keep(database, replace(key, path="/elsewhere"), later)
    assert await replay(database, replace(key, path="/elsewhere")) == later


async def test_the_text_of_what_was_removed_goes(database: OwnDatabase, key: Key) -> None:
    other = replace(key, key="key-2")
    await keep(database, key)
    await keep(database, other, replace(KEPT, subject=uuid4()))
    assert KEPT.subject is not None
    async with database.transaction() as tx:
        await idempotency.blank(tx, KEPT.subject, ["body", "body_html", "title"])
    blanked = await replay(database, key)
    assert blanked is not None
    assert blanked.representation == {"id": "7", "body": None, "body_html": None, "parent_id": None}
    untouched = await replay(database, other)
    assert untouched is not None
    assert untouched.representation == KEPT.representation


def test_equal_json_is_equal() -> None:
    assert idempotency.digest({"a": 1, "b": [1, 2]}) == idempotency.digest({"b": [1, 2], "a": 1})
    assert idempotency.digest({"a": [1, 2]}) != idempotency.digest({"a": [2, 1]})
    assert idempotency.digest({"a": "é"}) == idempotency.digest({"a": "\u00e9"})
    assert len(idempotency.digest(None)) == 32
