"""Import of comments: each once, with date, state and thread, and marked as imported in every event."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.chassis.messaging import outbox
from services.comments import queries
from services.comments.commands import importing
from services.contracts.comments import ImportComment
from tests.integration.comments_harness import ANN, BOB, MODERATOR, NOBODY, Harness, person, refused

LONG_AGO = datetime(2008, 3, 4, 5, 6, 7, 890_600, UTC)


@pytest.fixture
async def harness(new_database: Callable[..., Awaitable[Any]]) -> Harness:
    made = Harness(await new_database("services.chassis", "services.comments"))
    await made.publish_post()
    return made


def old_comment(harness: Harness, source_id: str, **fields: Any) -> ImportComment:
    fields = {"author_id": person(ANN), "created_at": LONG_AGO, "body": "Old <b>words</b>."} | fields
    return ImportComment(site="blog.example", source_id=source_id, post_id=harness.post_id, **fields)


async def test_a_thread_is_imported_with_dates_states_and_replies(harness: Harness) -> None:
    await harness.change_post(discussion="closed")
    top, created = await importing.import_comment(
        harness.db, old_comment(harness, "1", body="One\n\nTwo<script>x</script>")
    )
    assert created
    answer = old_comment(
        harness, "2", parent_source_id="1", author_id=person(BOB), created_at=LONG_AGO + timedelta(days=1)
    )
    await importing.import_comment(harness.db, answer)
    await importing.import_comment(harness.db, old_comment(harness, "3", parent_source_id="2", state="held", body=""))
    seen = await harness.walk(MODERATOR)
    assert [comment["depth"] for comment in seen] == [0, 1, 2]
    assert [comment["state"] for comment in seen] == ["visible", "visible", "held"]
    assert seen[0]["id"] == str(top)
    assert seen[0]["created_at"] == "2008-03-04T05:06:07.891Z"
    assert (seen[0]["format"], seen[0]["body"]) == ("html", "One\n\nTwo<script>x</script>")
    assert seen[0]["body_html"] == "<p>One</p>\n<p>Two</p>\n"
    assert (seen[2]["body"], seen[2]["body_html"]) == ("", "")
    assert len(await harness.walk(NOBODY)) == await harness.count() == 2
    assert await queries.counts_of_people(harness.db, [person(ANN), person(BOB)]) == {
        str(person(ANN)): 1,
        str(person(BOB)): 1,
    }


async def test_every_later_event_of_an_imported_comment_is_marked_imported(harness: Harness) -> None:
    comment_id, _ = await importing.import_comment(harness.db, old_comment(harness, "1", state="held"))
    await harness.moderate(str(comment_id), "approve")
    await harness.moderate(str(comment_id), "reject")
    await harness.moderate(str(comment_id), "restore")
    await harness.post_comment(BOB, str(comment_id))
    await harness.remove(str(comment_id), ANN)
    events = await harness.events()
    assert [(event["type"], event["imported"]) for event in events] == [
        ("imported", True),
        ("approved", True),
        ("rejected", True),
        ("restored", True),
        ("posted", False),
        ("removed", True),
    ]
    assert events[0]["state"] == "held"


async def test_imported_comments_are_listed_by_date(harness: Harness) -> None:
    moments = [LONG_AGO + timedelta(milliseconds=step) for step in (30, 10, 20, 0)]
    for number, moment in enumerate(moments):
        await importing.import_comment(harness.db, old_comment(harness, str(number), created_at=moment))
    await harness.post_comment()
    dates = [comment["created_at"] for comment in await harness.page()]
    assert dates == sorted(dates)
    assert dates[:4] == [f"2008-03-04T05:06:07.{ms}Z" for ms in (891, 901, 911, 921)]
    newest = [comment["created_at"] for comment in await harness.page(sort="newest")]
    assert newest == dates[::-1]


async def test_comments_of_one_moment_are_listed_by_the_number_of_their_source(harness: Harness) -> None:
    numbers = [9, 10, 100, 2, 2**63, 11, 1]
    for number in numbers:
        await importing.import_comment(harness.db, old_comment(harness, str(number), body=f"{number}"))
    await importing.import_comment(harness.db, old_comment(harness, "7#3", body="3"))
    assert [comment["body"] for comment in await harness.page(MODERATOR)] == [
        str(number) for number in sorted([*numbers, 3])
    ]


async def test_a_source_is_imported_once(harness: Harness) -> None:
    first = await importing.import_comment(harness.db, old_comment(harness, "1"))
    assert await importing.import_comment(harness.db, old_comment(harness, "1", body="Invalidation")) == (
        first[0],
        False,
    )
    other = Harness(harness.db)
    await other.publish_post()
    assert await importing.import_comment(other.db, old_comment(other, "1")) == (first[0], False)
    both = [old_comment(harness, "2"), old_comment(other, "2")] * 4
    outcomes = await asyncio.gather(*(importing.import_comment(harness.db, one) for one in both))
    assert len({comment_id for comment_id, _ in outcomes}) == 1
    assert sum(created for _, created in outcomes) == 1
    assert await harness.count() + await other.count() == 2
    assert len(await harness.events()) == 2


async def test_refused_imports(harness: Harness) -> None:
    elsewhere = Harness(harness.db)
    await elsewhere.publish_post()
    await importing.import_comment(harness.db, old_comment(elsewhere, "there"))
    unknown = await refused(
        importing.import_comment(harness.db, old_comment(harness, "x").model_copy(update={"post_id": uuid4()}))
    )
    assert (unknown.kind, unknown.status) == ("post-unknown", 404)
    for fields, field in (
        ({"parent_source_id": "unknown"}, "parent_source_id"),
        ({"parent_source_id": "there"}, "parent_source_id"),
        ({"created_at": datetime(1969, 1, 1, tzinfo=UTC)}, "created_at"),
        ({"created_at": datetime.max.replace(tzinfo=UTC)}, "created_at"),
        ({"created_at": datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))}, "created_at"),
        ({"created_at": datetime.max.replace(tzinfo=timezone(timedelta(hours=-14)))}, "created_at"),
    ):
        problem = await refused(importing.import_comment(harness.db, old_comment(harness, "x", **fields)))
        assert [error.field for error in problem.errors] == [field]
    long = old_comment(harness, "x" * 512).model_copy(update={"site": "😀" * 512})
    assert (await refused(importing.import_comment(harness.db, long))).kind == "invalid"
    assert [event["type"] for event in await harness.events()] == ["imported"]


async def test_an_import_below_depth_100_is_refused(harness: Harness) -> None:
    await importing.import_comment(harness.db, old_comment(harness, "0"))
    for depth in range(1, 101):
        await importing.import_comment(harness.db, old_comment(harness, str(depth), parent_source_id=str(depth - 1)))
    problem = await refused(importing.import_comment(harness.db, old_comment(harness, "101", parent_source_id="100")))
    assert [error.field for error in problem.errors] == ["parent_source_id"]
    assert await harness.count() == 101


async def test_comments_of_a_draft_are_imported_and_hidden(harness: Harness) -> None:
    await harness.change_post(status="draft")
    comment_id, created = await importing.import_comment(harness.db, old_comment(harness, "1"))
    assert created
    assert (await refused(harness.read(str(comment_id), ANN))).kind == "not-found"
    assert await queries.counts_of_people(harness.db, [person(ANN)]) == {str(person(ANN)): 0}
    (known,) = await queries.look_up(harness.db, [comment_id, UUID(int=1)])
    assert (known["post_status"], known["imported"], known["state"]) == ("draft", True, "visible")


async def test_published_events_are_published_again(harness: Harness) -> None:
    await harness.post_comment()
    async with harness.db.transaction() as tx:
        await tx.execute("update outbox set published_at = now()")
    assert (await outbox.republish(harness.db, datetime.now(UTC) - timedelta(minutes=1)))["count"] == 1
    async with harness.db.reader() as reader:
        assert await reader.fetchval("select count(*) from outbox where published_at is null") == 1
    for hours in (-14, 0, 14):
        zone = timezone(timedelta(hours=hours))
        for since in (datetime.min.replace(tzinfo=zone), datetime.max.replace(tzinfo=zone)):
            assert (await refused(outbox.republish(harness.db, since))).errors[0].field == "since"
