"""Posting in batches: comments that come at the same time share a transaction, and each has an outcome of its own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from services.chassis.database.idempotency import CommandResult, Key
from services.chassis.database.pool import Transaction
from services.chassis.errors import Problem, unavailable
from services.chassis.ids import moment_of, new_id
from services.chassis.runtime import context
from services.chassis.runtime.context import Context
from services.comments.commands.posting import PostingQueue
from services.comments.commands.storing import Deferred, Outcome, Prepared, store_alone, store_at_once, store_locked
from services.comments.domain.comment import Discussion
from services.comments.store import comment_rows, discussion_rows, posting_rows
from tests.integration.comments_harness import ANN, BOB, MODERATOR, NOBODY, Harness, person, refused, request_key
from tests.waiting import eventually


@pytest.fixture
async def harness(new_database: Callable[..., Awaitable[Any]]) -> Harness:
    made = Harness(await new_database("services.chassis", "services.comments"))
    await made.publish_post()
    return made


def prepared(harness: Harness, parent: str | None = None, who: Any = ANN, key: Key | None = None) -> Prepared:
    comment_id = new_id()
    return Prepared(
        id=comment_id,
        post_id=harness.post_id,
        parent_id=UUID(parent) if parent else None,
        caller=who,
        author_id=person(who),
        body=str(comment_id),
        body_html=f"<p>{comment_id}</p>\n",
        created_at=moment_of(comment_id),
        key=key,
        context=context.current(),
    )


async def store_together(harness: Harness, *items: Prepared) -> list[CommandResult | BaseException]:
    """Store these comments; all but the first are in one batch, because the first is under way when they come."""
    queue = PostingQueue(harness.db)
    first = asyncio.create_task(queue.store(items[0]))
    await asyncio.sleep(0)
    return await asyncio.gather(first, *(queue.store(item) for item in items[1:]), return_exceptions=True)


async def transactions(harness: Harness) -> int:
    async with harness.db.reader() as reader:
        count: int = await reader.fetchval("select count(distinct xmin::text) from outbox")
    return count


async def test_comments_that_come_together_share_one_commit(harness: Harness) -> None:
    other = Harness(harness.db)
    await other.publish_post()
    top = await harness.post_comment()
    before = await transactions(harness)
    replies = [prepared(harness, top["id"], BOB) for _ in range(5)]
    items = [prepared(harness), *replies, prepared(other), prepared(other)]
    outcomes = await store_together(harness, *items)
    assert all(isinstance(result, CommandResult) and result.status == 201 for result in outcomes)
    assert await transactions(harness) == before + 2
    assert (await harness.count(), await other.count()) == (7, 2)
    (seen, _) = await harness.page()
    assert seen["reply_count"] == 5
    assert [event["comment_id"] for event in (await harness.events())[1:]] == [str(item.id) for item in items]
    for item, result in zip(items, outcomes, strict=True):
        assert isinstance(result, CommandResult)
        assert result.location == f"/v1/comments/{item.id}"
        assert result.representation == await harness.read(str(item.id), item.caller)


async def test_a_refusal_is_an_outcome_of_its_own_item(harness: Harness) -> None:
    closed, withdrawn, elsewhere = Harness(harness.db), Harness(harness.db), Harness(harness.db)
    for other in (closed, withdrawn, elsewhere):
        await other.publish_post()
    foreign = await elsewhere.post_comment()
    hidden, secret = await harness.post_comment(BOB), await harness.post_comment(BOB)
    for each in (hidden, secret):
        await harness.moderate(each["id"], "hold")
    await closed.change_post(discussion="closed")
    await withdrawn.change_post(status="withdrawn")
    unknown = Harness(harness.db)
    unknown.post_id = uuid4()
    outcomes = await store_together(
        harness,
        prepared(harness),
        prepared(closed),
        prepared(withdrawn),
        prepared(unknown),
        prepared(harness, str(uuid4())),
        prepared(harness, foreign["id"]),
        prepared(harness, secret["id"], ANN),
        prepared(harness, hidden["id"], BOB),
        prepared(harness, hidden["id"], MODERATOR),
        prepared(harness),
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
    assert await harness.count() == 4
    assert len(await harness.walk(NOBODY)) == 5, "the answered comment is shown as a tombstone again"


async def test_a_batch_in_a_held_discussion_stores_held_comments(harness: Harness) -> None:
    top = (await harness.post_comment())["id"]
    await harness.change_post(discussion="held")
    await store_together(harness, prepared(harness), prepared(harness, top), prepared(harness, top, MODERATOR))
    assert await harness.count() == 2
    (seen,) = await harness.page()
    assert (seen["reply_count"], len(seen["replies"]["items"])) == (1, 1)
    assert len(await harness.walk(MODERATOR)) == 4


async def test_keys_are_checked_within_a_batch_and_against_earlier_requests(harness: Harness) -> None:
    old, used = request_key(ANN, "old"), request_key(ANN, "used")
    kept = await harness.post_comment(key=old)
    await harness.post_comment(key=used)
    new, twice = request_key(ANN, "new"), request_key(ANN, "twice")
    outcomes = await store_together(
        harness,
        prepared(harness),
        prepared(harness, key=new),
        prepared(harness, key=replace(new, person_id=person(BOB)), who=BOB),
        prepared(harness, key=old),
        prepared(harness, key=replace(used, body_sha256=b"other")),
        prepared(harness, key=twice),
        prepared(harness, key=twice),
    )
    stored = [outcome for outcome in outcomes if isinstance(outcome, CommandResult) and not outcome.replayed]
    assert len(stored) == 4
    again = outcomes[3]
    assert isinstance(again, CommandResult)
    assert again.replayed
    assert again.representation == kept
    reused = outcomes[4]
    assert isinstance(reused, Problem)
    assert reused.kind == "idempotency-key-reused"
    (repeated, *_) = await store_together(harness, prepared(harness, key=new))
    assert isinstance(repeated, CommandResult)
    assert isinstance(outcomes[1], CommandResult)
    assert (repeated.replayed, repeated.representation) == (True, outcomes[1].representation)
    assert await harness.count() == 6


async def at_once(harness: Harness, *items: Prepared) -> list[Outcome]:
    return await store_at_once(harness.db, items, {})


async def locked(harness: Harness, *items: Prepared) -> list[Outcome]:
    async with harness.db.transaction() as tx:
        return await store_locked(tx, items)


async def alone(harness: Harness, item: Prepared) -> CommandResult:
    async with harness.db.transaction() as tx:
        return await store_alone(tx, item)


async def test_a_used_key_and_a_hidden_parent_are_decided_alone(harness: Harness) -> None:
    key = request_key(ANN)
    kept = await harness.post_comment(key=key)
    hidden = (await harness.post_comment(BOB))["id"]
    await harness.moderate(hidden, "hold")
    for way in (at_once, locked):
        outcomes = await way(harness, prepared(harness, key=key), prepared(harness), prepared(harness, hidden, BOB))
        assert [outcome is Deferred.ALONE for outcome in outcomes] == [True, False, True]
    replayed = await alone(harness, prepared(harness, key=key))
    assert replayed == CommandResult(201, kept, f"/v1/comments/{kept['id']}", replayed=True)
    assert (await refused(alone(harness, prepared(harness, hidden, ANN)))).kind == "invalid"
    assert (await alone(harness, prepared(harness, hidden, BOB))).status == 201


async def test_only_what_is_alone_is_refused(harness: Harness) -> None:
    """A used key comes before any refusal."""
    unknown, key = Harness(harness.db), request_key(ANN)
    unknown.post_id = uuid4()
    kept = await harness.post_comment(key=key)
    await harness.change_post(discussion="closed")
    for way in (at_once, locked):
        assert await way(harness, prepared(unknown), prepared(harness, key=key)) == [Deferred.ALONE] * 2
    assert (await refused(alone(harness, prepared(unknown)))).kind == "post-unknown"
    assert (await refused(alone(harness, prepared(harness)))).kind == "discussion-closed"
    assert (await alone(harness, prepared(harness, key=key))).representation == kept


@pytest.mark.parametrize("change", [{"discussion": "held"}, {"discussion": "closed"}, {"status": "withdrawn"}])
async def test_a_discussion_that_changed_since_it_was_read_is_asked_again(
    harness: Harness, change: dict[str, Any]
) -> None:
    known: dict[UUID, Discussion] = {}
    (first,) = await store_at_once(harness.db, [prepared(harness)], known)
    assert isinstance(first, CommandResult)
    assert harness.post_id in known
    await harness.change_post(**change)
    assert await store_at_once(harness.db, [prepared(harness)], known) == [Deferred.LOCKED]
    assert not known
    assert len(await harness.events()) == 1
    if change == {"discussion": "held"}:
        (second,) = await store_at_once(harness.db, [prepared(harness)], known)
        assert isinstance(second, CommandResult)
        assert second.representation["state"] == "held"


async def test_a_database_that_was_restored_since_is_asked_again(harness: Harness) -> None:
    known: dict[UUID, Discussion] = {}
    await store_at_once(harness.db, [prepared(harness)], known)
    async with harness.db.transaction() as tx:
        await tx.execute("update epoch set number = number + 1")
    assert await store_at_once(harness.db, [prepared(harness)], known) == [Deferred.LOCKED]
    (second,) = await store_at_once(harness.db, [prepared(harness)], known)
    assert isinstance(second, CommandResult)
    assert second.representation["epoch"] == 1


async def test_each_discussion_of_a_batch_is_of_the_present_epoch(harness: Harness) -> None:
    """One of them was read again since the database was restored, the other was not."""
    other = Harness(harness.db)
    await other.publish_post()
    known: dict[UUID, Discussion] = {}
    await store_at_once(harness.db, [prepared(harness), prepared(other)], known)
    async with harness.db.transaction() as tx:
        await tx.execute("update epoch set number = number + 1")
    known[harness.post_id] = replace(known[harness.post_id], epoch=1)
    first, second = await store_at_once(harness.db, [prepared(harness), prepared(other)], known)
    assert isinstance(first, CommandResult)
    assert first.representation["epoch"] == 1
    assert second is Deferred.LOCKED


async def test_an_epoch_raised_while_a_comment_is_stored_is_no_error_of_the_service(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = discussion_rows.lock_discussion

    async def then_restored(tx: Transaction, post_id: UUID) -> Discussion | None:
        found = await find(tx, post_id)
        return found and replace(found, epoch=found.epoch + 1)  # as if it had been raised, and lowered again

    monkeypatch.setattr(discussion_rows, "lock_discussion", then_restored)
    with pytest.raises(Problem, match="unavailable"):
        await alone(harness, prepared(harness))


async def test_a_parent_that_was_hidden_since_it_was_read_gets_no_reply(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent, find_many = (await harness.post_comment())["id"], comment_rows.find_many

    async def hidden_after(*args: Any) -> Any:
        found = await find_many(*args)
        patched.undo()
        await harness.moderate(parent, "hold")
        return found

    with monkeypatch.context() as patched:
        patched.setattr(comment_rows, "find_many", hidden_after)
        outcomes = await at_once(harness, prepared(harness, parent), prepared(harness))
    assert outcomes[0] is Deferred.LOCKED
    assert isinstance(outcomes[1], CommandResult)
    assert len(await harness.walk(MODERATOR)) == 2


async def waits_for_lock(harness: Harness) -> None:
    async def waits() -> bool:
        sql = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        async with harness.db.reader() as reader:
            return bool(await reader.fetchval(sql))

    await eventually(waits)


@pytest.mark.parametrize("state", ["visible", "held"])
async def test_a_twin_that_was_stored_between_snapshot_and_lock_is_found(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """A statement that waits for the lock, as none does otherwise, has a snapshot from before."""
    if state == "held":
        await harness.change_post(discussion="held")
    waiting = posting_rows.INSERT_IF_CURRENT.replace(" skip locked", "")
    assert waiting != posting_rows.INSERT_IF_CURRENT
    first = prepared(harness)
    async with harness.db.transaction() as tx:
        assert isinstance((await store_locked(tx, [first]))[0], CommandResult)
        monkeypatch.setattr(posting_rows, "INSERT_IF_CURRENT", waiting)
        twin = asyncio.create_task(at_once(harness, replace(prepared(harness), body=first.body)))
        await waits_for_lock(harness)
    assert await twin == [Deferred.LOCKED]
    (again,) = await at_once(harness, replace(prepared(harness), body=first.body))
    assert again is Deferred.ALONE
    assert len(await harness.events()) == 1


async def test_replies_and_twins_of_one_statement_are_counted_once(harness: Harness) -> None:
    top = (await harness.post_comment())["id"]
    same = prepared(harness, top)
    assert isinstance((await at_once(harness, same))[0], CommandResult)
    items = [prepared(harness, top), replace(prepared(harness, top), body=same.body), prepared(harness, top, BOB)]
    outcomes = await at_once(harness, *items)
    assert [outcome is Deferred.ALONE for outcome in outcomes] == [False, True, False]
    async with harness.db.reader() as reader:
        parent = await comment_rows.find(reader, UUID(top))
    assert parent is not None
    assert (parent.all_replies, parent.reply_count, parent.shown_replies) == (3, 3, 3)
    assert await harness.count() == 4
    assert [event["subject"] for event in await harness.events()][2:] == [items[0].id, items[2].id]


async def test_a_locked_discussion_does_not_delay_other_discussions(harness: Harness) -> None:
    busy = Harness(harness.db)
    await busy.publish_post()
    queue = PostingQueue(harness.db)
    async with harness.db.transaction() as tx:
        await discussion_rows.lock_discussion(tx, busy.post_id)
        first = asyncio.create_task(queue.store(prepared(busy)))
        assert (await asyncio.wait_for(queue.store(prepared(harness)), 10)).status == 201
        rest = [asyncio.create_task(queue.store(prepared(busy))) for _ in range(5)]
        assert (await asyncio.wait_for(queue.store(prepared(harness)), 10)).status == 201
        assert not any(waits.done() for waits in (first, *rest))
    assert [result.status for result in await asyncio.gather(first, *rest)] == [201] * 6
    assert await transactions(harness) == 4, "the comments that waited behind the first were stored together"


async def test_batches_of_several_processes_do_not_deadlock(harness: Harness) -> None:
    other = Harness(harness.db)
    await other.publish_post()
    queues = [PostingQueue(harness.db) for _ in range(3)]
    storing = [queue.store(prepared(each)) for _ in range(20) for queue in queues for each in (harness, other, harness)]
    assert {result.status for result in await asyncio.gather(*storing)} == {201}
    assert (await harness.count(), await other.count()) == (120, 60)


async def test_the_items_of_a_failed_batch_are_stored_alone(harness: Harness) -> None:
    bad = replace(prepared(harness), body="a\0b")
    outcomes = await store_together(harness, prepared(harness), prepared(harness), bad, prepared(harness))
    assert isinstance(outcomes[2], asyncpg.PostgresError)
    assert [isinstance(result, CommandResult) for result in outcomes] == [True, True, False, True]
    assert await harness.count() == 3
    assert len(await harness.events()) == 3


async def test_nothing_is_repeated_when_the_database_is_unavailable(harness: Harness) -> None:
    await harness.db.close()
    outcomes = await store_together(harness, prepared(harness), prepared(harness), prepared(harness))
    assert [outcome.kind for outcome in outcomes if isinstance(outcome, Problem)] == ["unavailable"] * 3


async def test_nothing_is_repeated_when_the_answer_to_a_commit_is_lost(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    statement = harness.db.statement

    @asynccontextmanager
    async def committed_without_answer() -> AsyncIterator[Transaction]:
        async with statement() as tx:
            yield tx
        raise unavailable("The answer was lost.")

    monkeypatch.setattr(harness.db, "statement", committed_without_answer)
    outcomes = await store_together(harness, *(prepared(harness) for _ in range(4)))
    assert [outcome.kind for outcome in outcomes if isinstance(outcome, Problem)] == ["unavailable"] * 4
    assert await harness.count() == 4
    assert len(await harness.events()) == 4


async def test_each_event_keeps_the_context_of_its_request(harness: Harness) -> None:
    items = [replace(prepared(harness), context=Context(f"request-{number}")) for number in range(4)]
    await store_together(harness, *items)
    async with harness.db.reader() as reader:
        rows = await reader.fetch("select subject, correlation_id from outbox order by id")
    assert [(row["subject"], row["correlation_id"]) for row in rows] == [
        (item.id, f"request-{number}") for number, item in enumerate(items)
    ]
