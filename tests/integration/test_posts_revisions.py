"""Revisions of posts on a real PostgreSQL: which texts are kept, how two differ, and what taking one away takes."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

from services.chassis.database import idempotency
from services.chassis.database.idempotency import Key
from services.chassis.database.pool import Database
from services.chassis.errors import Problem
from services.chassis.identity import Caller
from services.contracts.posts import CreatePost, EditPost
from services.posts import blanking, commands, comparing, exporting, queries
from services.posts.domain.differences import Part

AUTHOR = Caller("gateway", uuid4(), frozenset({"author"}))
FORMER_AUTHOR = Caller("gateway", AUTHOR.person_id, frozenset())
OTHER = Caller("gateway", uuid4(), frozenset({"author"}))
ADMIN = Caller("gateway", uuid4(), frozenset({"admin"}))
ANONYMOUS = Caller("gateway")


@pytest.fixture
async def db(new_database: Callable[..., Awaitable[Any]]) -> Database:
    made: Database = await new_database("services.chassis", "services.posts")
    return made


def key(name: str, method: str = "PATCH") -> Key:
    assert AUTHOR.person_id is not None
    return Key(AUTHOR.person_id, name, method, "/x", idempotency.digest(name))


async def create(db: Database, body: str = "One", **fields: Any) -> UUID:
    made = await commands.create_post(db, AUTHOR, CreatePost(title="Letters", body=body, **fields), key("created"))
    return UUID(made.representation["id"])


async def edit(db: Database, post_id: UUID, body: str, note: str | None = None) -> dict[str, Any]:
    command = EditPost(body=body, edit_note=note) if note else EditPost(body=body)
    return (await commands.edit_post(db, AUTHOR, post_id, command, key(body))).representation


async def revisions(db: Database, post_id: UUID) -> list[tuple[Any, ...]]:
    found = (await queries.revisions(db, AUTHOR, post_id, None, 50))["items"]
    return [(one["revision"], one["title"], one["body"], one["edit_note"]) for one in found]


async def events(db: Database) -> list[tuple[str, dict[str, Any]]]:
    async with db.reader() as reader:
        rows = await reader.fetch("select type, key, payload from outbox order by id")
    return [(row["type"].split(".")[3], orjson.loads(row["payload"]) | {"key": row["key"]}) for row in rows]


async def refused(doing: Awaitable[object]) -> str:
    with pytest.raises(Problem) as refusal:
        await doing
    return ": ".join([refusal.value.kind, *(error.field for error in refusal.value.errors)])


async def test_the_texts_of_a_draft_are_one_revision_and_those_of_a_published_post_are_kept(db: Database) -> None:
    post_id = await create(db)
    first = (await queries.revision(db, AUTHOR, post_id, 1))["created_at"]
    await asyncio.gather(*(edit(db, post_id, f"Draft {number}", "nobody asks why") for number in range(4)))
    last = await edit(db, post_id, "Draft")
    assert (last["revision"], last["version"], last["edited_at"], last["edit_note"]) == (1, 6, None, None)
    assert await revisions(db, post_id) == [(1, "Letters", "Draft", None)]
    assert (await queries.revision(db, AUTHOR, post_id, 1))["created_at"] > first
    await commands.publish_post(db, AUTHOR, post_id)
    assert (await edit(db, post_id, "Two", "Clearer"))["revision"] == 2
    await commands.withdraw_post(db, AUTHOR, post_id)
    await edit(db, post_id, "Three")
    assert await revisions(db, post_id) == [
        (3, "Letters", "Three", None),
        (2, "Letters", "Two", "Clearer"),
        (1, "Letters", "Draft", None),
    ]
    told = [event["text_id"] for _, event in await events(db)]
    assert len(set(told)) == 8, "one id for each text: published and withdrawn as they were"


async def test_two_revisions_are_compared_in_either_direction(db: Database) -> None:
    post_id = await create(db, "Beans at three.", publish=True)
    await edit(db, post_id, "Beans at four.")
    there = await comparing.compared(db, ANONYMOUS, post_id, 2, 1)
    assert there == await queries.revision(db, ANONYMOUS, post_id, 2) | {
        "diff": [
            {"op": "equal", "text": "Beans at "},
            {"op": "delete", "text": "three"},
            {"op": "insert", "text": "four"},
            {"op": "equal", "text": "."},
        ]
    }
    back = (await comparing.compared(db, ANONYMOUS, post_id, 1, 2))["diff"]
    assert [one["text"] for one in back if one["op"] != "equal"] == ["four", "three"]
    assert (await comparing.compared(db, ANONYMOUS, post_id, 2, 2))["diff"] == [
        {"op": "equal", "text": "Beans at four."}
    ]
    assert await refused(comparing.compared(db, ANONYMOUS, post_id, 2, 3)) == "invalid: against"
    assert await refused(comparing.compared(db, ANONYMOUS, post_id, 3, 1)) == "not-found"
    await commands.withdraw_post(db, AUTHOR, post_id)
    assert await refused(comparing.compared(db, OTHER, post_id, 2, 3)) == "not-found", "before anything else"


async def test_the_loop_goes_on_while_texts_are_compared(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, may_end = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slow(old: str, new: str) -> list[Part]:
        loop.call_soon_threadsafe(begun.set)
        assert may_end.wait(30)
        return [Part("equal", new)]

    monkeypatch.setattr(comparing, "difference", slow)
    post_id = await create(db, publish=True)
    comparison = asyncio.create_task(comparing.compared(db, ANONYMOUS, post_id, 1, 1))
    await begun.wait()
    assert (await queries.revision(db, ANONYMOUS, post_id, 1))["body"] == "One", "everybody else is served"
    may_end.set()
    assert (await comparison)["diff"] == [{"op": "equal", "text": "One"}]


async def test_a_former_text_is_taken_away_wherever_it_is_kept(db: Database) -> None:
    post_id = await create(db, "Private", publish=True)
    before = await edit(db, post_id, "Public", "Without the name")
    present = await edit(db, post_id, "Newest")
    assert [
        (await blanking.blank_revision(db, who, post_id, number)).status
        for who, number in ((FORMER_AUTHOR, 1), (ADMIN, 2), (ADMIN, 2))
    ] == [204] * 3
    assert await revisions(db, post_id) == [
        (3, "Letters", "Newest", None),
        (2, None, None, None),
        (1, None, None, None),
    ]
    notes = await queries.revision_notes(db, ANONYMOUS, post_id, None, 2)
    assert [(one["revision"], one["title"]) for one in notes["items"]] == [(3, "Letters"), (2, None)]
    assert "body" not in notes["items"][0]
    assert [
        one["revision"] for one in (await queries.revision_notes(db, OTHER, post_id, notes["next"], 2))["items"]
    ] == [1]
    assert (await comparing.compared(db, ANONYMOUS, post_id, 3, 1))["diff"] is None
    assert (await comparing.compared(db, ANONYMOUS, post_id, 1, 3))["diff"] is None
    assert [one["title"] for one in await queries.look_up_titles(db, [(post_id, n) for n in (1, 2, 3)])] == ["Letters"]
    exported = await exporting.export_revisions(db, AUTHOR.person_id, None)  # type: ignore[arg-type]
    assert [one["body"] for one in exported["items"]] == [None, None, "Newest"]
    texts = ("title", "body", "body_html", "excerpt", "edit_note")
    again = await commands.edit_post(db, AUTHOR, post_id, EditPost(body="Public", edit_note="x"), key("Public"))
    assert again.representation == before | dict.fromkeys(texts) | {"version": 3}
    newest = await commands.edit_post(db, AUTHOR, post_id, EditPost(body="Newest"), key("Newest"))
    assert newest.representation == present, "that of the present text, and no new version"
    async with db.reader() as reader:
        for table in ("revisions", "idempotency_keys"):
            stored = await reader.fetchval(f"select string_agg(t::text, ' ') from {table} t")
            assert stored
            assert "Private" not in stored, table


async def test_taking_away_is_told_once_for_each_text(db: Database) -> None:
    post_id = await create(db, publish=True)
    await edit(db, post_id, "Two")
    await edit(db, post_id, "Three")
    known = {event["revision"]: event["text_id"] for _, event in await events(db)}
    for number in (2, 1, 2):
        await blanking.blank_revision(db, AUTHOR, post_id, number)
    told = [event for kind, event in await events(db) if kind == "revision-blanked"]
    assert [(one["revision"], one["text_id"], one["key"]) for one in told] == [
        (2, known[2], post_id),
        (1, known[1], post_id),
    ]
    assert not any(word in str(told) for word in ("One", "Two", "Letters"))


async def test_who_may_take_away_what_in_order_and_once(db: Database) -> None:
    post_id, draft = await create(db, publish=True), UUID(int=0)
    draft = UUID((await commands.create_post(db, AUTHOR, CreatePost(title="Draft", body="x"))).representation["id"])
    await edit(db, post_id, "Two")
    for who, which, number, kind in (
        (ANONYMOUS, uuid4(), 1, "sign-in-required"),
        (AUTHOR, uuid4(), 1, "not-found"),
        (OTHER, draft, 1, "not-found"),
        (OTHER, post_id, 3, "not-found"),
        (OTHER, post_id, 1, "forbidden"),
        (OTHER, post_id, 2, "forbidden"),
        (AUTHOR, post_id, 2, "wrong-state"),
        (ADMIN, draft, 1, "wrong-state"),
    ):
        assert await refused(blanking.blank_revision(db, who, which, number)) == kind
    assert [body for _, _, body, _ in await revisions(db, post_id)] == ["Two", "One"]
    done = [await blanking.blank_revision(db, AUTHOR, post_id, 1, key("once", "DELETE")) for _ in range(2)]
    assert [(one.status, one.replayed) for one in done] == [(204, False), (204, True)]
    tries = [blanking.blank_revision(db, AUTHOR, post_id, 1) for _ in range(4)]
    assert {one.status for one in await asyncio.gather(*tries)} == {204}
    assert [kind for kind, _ in await events(db)].count("revision-blanked") == 1
