"""Comments from elsewhere: once each, with their dates, states and threads, and marked for ever."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.comments import commands, queries
from services.contracts.comments import ImportComment
from tests.integration.comments_harness import ANN, BOB, MODERATOR, NOBODY, House, person, refused

LONG_AGO = datetime(2008, 3, 4, 5, 6, 7, 890_600, UTC)


@pytest.fixture
async def house(new_database: Callable[..., Awaitable[Any]]) -> House:
    made = House(await new_database("services.chassis", "services.comments"))
    await made.post()
    return made


def take(house: House, source_id: str, **fields: Any) -> ImportComment:
    fields = {"author_id": person(ANN), "created_at": LONG_AGO, "body": "Old <b>words</b>."} | fields
    return ImportComment(site="blog.example", source_id=source_id, post_id=house.post_id, **fields)


async def test_a_thread_comes_over_as_it_was(house: House) -> None:
    await house.change_post(discussion="closed")
    top, created = await commands.import_comment(house.db, take(house, "1", body="One\n\nTwo<script>x</script>"))
    assert created
    answer = take(house, "2", parent_source_id="1", author_id=person(BOB), created_at=LONG_AGO + timedelta(days=1))
    await commands.import_comment(house.db, answer)
    await commands.import_comment(house.db, take(house, "3", parent_source_id="2", state="held", body=""))
    seen = await house.walk(MODERATOR)
    assert [comment["depth"] for comment in seen] == [0, 1, 2]
    assert [comment["state"] for comment in seen] == ["visible", "visible", "held"]
    assert seen[0]["id"] == str(top)
    assert seen[0]["created_at"] == "2008-03-04T05:06:07.891Z"
    assert (seen[0]["format"], seen[0]["body"]) == ("html", "One\n\nTwo<script>x</script>")
    assert seen[0]["body_html"] == "<p>One</p>\n<p>Two</p>\n"
    assert (seen[2]["body"], seen[2]["body_html"]) == ("", "")
    assert len(await house.walk(NOBODY)) == await house.count() == 2
    assert await queries.counts_of_people(house.db, [person(ANN), person(BOB)]) == {
        str(person(ANN)): 1,
        str(person(BOB)): 1,
    }


async def test_imported_stays_marked_in_every_later_fact(house: House) -> None:
    comment_id, _ = await commands.import_comment(house.db, take(house, "1", state="held"))
    await house.moderate(str(comment_id), "approve")
    await house.moderate(str(comment_id), "reject")
    await house.moderate(str(comment_id), "restore")
    await house.say(BOB, str(comment_id))
    await house.remove(str(comment_id), ANN)
    told = await house.events()
    assert [(event["type"], event["imported"]) for event in told] == [
        ("imported", True),
        ("approved", True),
        ("rejected", True),
        ("restored", True),
        ("posted", False),
        ("removed", True),
    ]
    assert told[0]["state"] == "held"


async def test_the_order_of_ids_is_the_order_of_dates(house: House) -> None:
    moments = [LONG_AGO + timedelta(milliseconds=step) for step in (30, 10, 20, 0)]
    for number, moment in enumerate(moments):
        await commands.import_comment(house.db, take(house, str(number), created_at=moment))
    await house.say()
    dates = [comment["created_at"] for comment in await house.page()]
    assert dates == sorted(dates)
    assert dates[:4] == [f"2008-03-04T05:06:07.{ms}Z" for ms in (891, 901, 911, 921)]
    newest = [comment["created_at"] for comment in await house.page(sort="newest")]
    assert newest == dates[::-1]


async def test_once_and_only_once(house: House) -> None:
    first = await commands.import_comment(house.db, take(house, "1"))
    assert await commands.import_comment(house.db, take(house, "1", body="Invalidation")) == (first[0], False)
    other = House(house.db)
    await other.post()
    assert await commands.import_comment(other.db, take(other, "1")) == (first[0], False)
    both = [take(house, "2"), take(other, "2")] * 4
    outcomes = await asyncio.gather(*(commands.import_comment(house.db, one) for one in both))
    assert len({comment_id for comment_id, _ in outcomes}) == 1
    assert sum(created for _, created in outcomes) == 1
    assert await house.count() + await other.count() == 2
    assert len(await house.events()) == 2


async def test_what_cannot_be_taken_over(house: House) -> None:
    elsewhere = House(house.db)
    await elsewhere.post()
    await commands.import_comment(house.db, take(elsewhere, "there"))
    unknown = await refused(commands.import_comment(house.db, take(house, "x").model_copy(update={"post_id": uuid4()})))
    assert (unknown.kind, unknown.headers) == ("unavailable", {"Retry-After": "1"})
    for fields, field in (
        ({"parent_source_id": "unknown"}, "parent_source_id"),
        ({"parent_source_id": "there"}, "parent_source_id"),
        ({"created_at": datetime(1969, 1, 1, tzinfo=UTC)}, "created_at"),
        ({"created_at": datetime.max.replace(tzinfo=UTC)}, "created_at"),
        ({"created_at": datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))}, "created_at"),
        ({"created_at": datetime.max.replace(tzinfo=timezone(timedelta(hours=-14)))}, "created_at"),
    ):
        problem = await refused(commands.import_comment(house.db, take(house, "x", **fields)))
        assert [error.field for error in problem.errors] == [field]
    long = take(house, "x" * 512).model_copy(update={"site": "😀" * 512})
    assert (await refused(commands.import_comment(house.db, long))).kind == "invalid"
    assert [event["type"] for event in await house.events()] == ["imported"]


async def test_no_thread_goes_deeper_than_100(house: House) -> None:
    await commands.import_comment(house.db, take(house, "0"))
    for depth in range(1, 101):
        await commands.import_comment(house.db, take(house, str(depth), parent_source_id=str(depth - 1)))
    problem = await refused(commands.import_comment(house.db, take(house, "101", parent_source_id="100")))
    assert [error.field for error in problem.errors] == ["parent_source_id"]
    assert await house.count() == 101


async def test_comments_of_a_draft_come_over_and_stay_hidden(house: House) -> None:
    await house.change_post(status="draft")
    comment_id, created = await commands.import_comment(house.db, take(house, "1"))
    assert created
    assert (await refused(house.see(str(comment_id), ANN))).kind == "not-found"
    assert await queries.counts_of_people(house.db, [person(ANN)]) == {str(person(ANN)): 0}
    (known,) = await queries.lookup(house.db, [comment_id, UUID(int=1)])
    assert (known["post_status"], known["imported"], known["state"]) == ("draft", True, "visible")


async def test_published_events_are_sent_again(house: House) -> None:
    await house.say()
    async with house.db.transaction() as tx:
        await tx.execute("update outbox set published_at = now()")
    assert await commands.republish(house.db, datetime.now(UTC) - timedelta(minutes=1)) == 1
    async with house.db.reader() as reader:
        assert await reader.fetchval("select count(*) from outbox where published_at is null") == 1
    for hours in (-14, 0, 14):
        zone = timezone(timedelta(hours=hours))
        for since in (datetime.min.replace(tzinfo=zone), datetime.max.replace(tzinfo=zone)):
            assert (await refused(commands.republish(house.db, since))).errors[0].field == "since"
