"""Comments that come at the same time are stored together, and none of them is another's fate."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from services.chassis.database.idempotency import Key
from services.chassis.errors import Problem
from services.chassis.ids import moment_of, new_id
from services.chassis.runtime import context
from services.chassis.runtime.context import Context
from services.comments import store
from services.comments.commands import Done, Group
from services.comments.commands.posting import Prepared
from tests.integration.comments_harness import ANN, BOB, MODERATOR, NOBODY, House, person, request_key


@pytest.fixture
async def house(new_database: Callable[..., Awaitable[Any]]) -> House:
    made = House(await new_database("services.chassis", "services.comments"))
    await made.post()
    return made


def prepared(house: House, parent: str | None = None, who: Any = ANN, key: Key | None = None) -> Prepared:
    comment_id = new_id()
    return Prepared(
        id=comment_id,
        post_id=house.post_id,
        parent_id=UUID(parent) if parent else None,
        caller=who,
        author_id=person(who),
        body="x",
        body_html="<p>x</p>\n",
        created_at=moment_of(comment_id),
        key=key,
        context=context.current(),
    )


async def together(house: House, *news: Prepared) -> list[Done | BaseException]:
    """Store them; all but the first are in one group, because the first is under way when they come."""
    group = Group(house.db)
    first = asyncio.create_task(group.store(news[0]))
    await asyncio.sleep(0)
    return await asyncio.gather(first, *(group.store(new) for new in news[1:]), return_exceptions=True)


async def transactions(house: House) -> int:
    async with house.db.reader() as reader:
        count: int = await reader.fetchval("select count(distinct xmin::text) from outbox")
    return count


async def test_many_comments_one_commit(house: House) -> None:
    other = House(house.db)
    await other.post()
    top = await house.say()
    before = await transactions(house)
    news = [prepared(house), *(prepared(house, top["id"], BOB) for _ in range(5)), prepared(other), prepared(other)]
    outcomes = await together(house, *news)
    assert all(isinstance(done, Done) and done.status == 201 for done in outcomes)
    assert await transactions(house) == before + 2
    assert (await house.count(), await other.count()) == (7, 2)
    (seen, _) = await house.page()
    assert seen["reply_count"] == 5
    assert [event["comment_id"] for event in (await house.events())[1:]] == [str(new.id) for new in news]
    for new, done in zip(news, outcomes, strict=True):
        assert isinstance(done, Done)
        assert done.location == f"/v1/comments/{new.id}"
        assert done.representation == await house.see(str(new.id), new.caller)


async def test_a_refusal_is_an_outcome_of_its_own(house: House) -> None:
    closed, gone, elsewhere = House(house.db), House(house.db), House(house.db)
    for other in (closed, gone, elsewhere):
        await other.post()
    foreign = await elsewhere.say()
    hidden, secret = await house.say(BOB), await house.say(BOB)
    for each in (hidden, secret):
        await house.moderate(each["id"], "hold")
    await closed.change_post(discussion="closed")
    await gone.change_post(status="withdrawn")
    unknown = House(house.db)
    unknown.post_id = uuid4()
    outcomes = await together(
        house,
        prepared(house),
        prepared(closed),
        prepared(gone),
        prepared(unknown),
        prepared(house, str(uuid4())),
        prepared(house, foreign["id"]),
        prepared(house, secret["id"], ANN),
        prepared(house, hidden["id"], BOB),
        prepared(house, hidden["id"], MODERATOR),
        prepared(house),
    )
    kinds = [outcome.kind if isinstance(outcome, Problem) else "stored" for outcome in outcomes]
    assert kinds == [
        "stored",
        "discussion-closed",
        "post-unknown",
        "post-unknown",
        "invalid",
        "invalid",
        "invalid",
        "stored",
        "stored",
        "stored",
    ]
    assert await house.count() == 4
    assert len(await house.walk(NOBODY)) == 5, "the tombstone of what is answered came back"


async def test_what_waits_in_a_held_discussion_waits_in_a_group_too(house: House) -> None:
    top = await house.say()
    await house.change_post(discussion="held")
    await together(house, prepared(house), prepared(house, top["id"]), prepared(house, top["id"], MODERATOR))
    assert await house.count() == 2
    (seen,) = await house.page()
    assert (seen["reply_count"], len(seen["replies"]["items"])) == (1, 1)
    assert len(await house.walk(MODERATOR)) == 4


async def test_a_key_counts_within_a_group_and_against_others(house: House) -> None:
    old, used = request_key(ANN, "old"), request_key(ANN, "used")
    kept = await house.say(key=old)
    await house.say(key=used)
    new, twice = request_key(ANN, "new"), request_key(ANN, "twice")
    outcomes = await together(
        house,
        prepared(house),
        prepared(house, key=new),
        prepared(house, key=replace(new, person_id=person(BOB)), who=BOB),
        prepared(house, key=old),
        prepared(house, key=replace(used, body_sha256=b"other")),
        prepared(house, key=twice),
        prepared(house, key=twice),
    )
    stored = [outcome for outcome in outcomes if isinstance(outcome, Done) and not outcome.replayed]
    assert len(stored) == 4
    again = outcomes[3]
    assert isinstance(again, Done)
    assert again.replayed
    assert again.representation == kept
    reused = outcomes[4]
    assert isinstance(reused, Problem)
    assert reused.kind == "idempotency-key-reused"
    (repeated, *_) = await together(house, prepared(house, key=new))
    assert isinstance(repeated, Done)
    assert isinstance(outcomes[1], Done)
    assert (repeated.replayed, repeated.representation) == (True, outcomes[1].representation)
    assert await house.count() == 6


async def test_a_locked_discussion_holds_up_nobody_else(house: House) -> None:
    busy = House(house.db)
    await busy.post()
    group = Group(house.db)
    async with house.db.transaction() as tx:
        await store.lock_discussion(tx, busy.post_id)
        first = asyncio.create_task(group.store(prepared(busy)))
        assert (await asyncio.wait_for(group.store(prepared(house)), 10)).status == 201
        rest = [asyncio.create_task(group.store(prepared(busy))) for _ in range(5)]
        assert (await asyncio.wait_for(group.store(prepared(house)), 10)).status == 201
        assert not any(waits.done() for waits in (first, *rest))
    assert [done.status for done in await asyncio.gather(first, *rest)] == [201] * 6
    assert await transactions(house) == 4, "those that waited behind the first were stored together"


async def test_groups_of_two_processes_do_not_wait_for_each_other_in_a_circle(house: House) -> None:
    other = House(house.db)
    await other.post()
    groups = [Group(house.db) for _ in range(3)]
    storing = [group.store(prepared(each)) for _ in range(20) for group in groups for each in (house, other, house)]
    assert {done.status for done in await asyncio.gather(*storing)} == {201}
    assert (await house.count(), await other.count()) == (120, 60)


async def test_if_a_group_fails_each_is_tried_alone(house: House) -> None:
    bad = replace(prepared(house), body="a\0b")
    outcomes = await together(house, prepared(house), prepared(house), bad, prepared(house))
    assert isinstance(outcomes[2], asyncpg.PostgresError)
    assert [isinstance(done, Done) for done in outcomes] == [True, True, False, True]
    assert await house.count() == 3
    assert len(await house.events()) == 3


async def test_nothing_is_repeated_when_the_database_goes_away(house: House) -> None:
    await house.db.close()
    outcomes = await together(house, prepared(house), prepared(house), prepared(house))
    assert [outcome.kind for outcome in outcomes if isinstance(outcome, Problem)] == ["unavailable"] * 3


async def test_each_event_belongs_to_its_own_request(house: House) -> None:
    news = [replace(prepared(house), context=Context(f"request-{number}")) for number in range(4)]
    await together(house, *news)
    async with house.db.reader() as reader:
        rows = await reader.fetch("select subject, correlation_id from outbox order by id")
    assert [(row["subject"], row["correlation_id"]) for row in rows] == [
        (new.id, f"request-{number}") for number, new in enumerate(news)
    ]
