"""Batches of the gateway: what needs nothing but to be stored is stored, each for its own person; the rest is left."""

import asyncio
import itertools
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from services.chassis.database import idempotency
from services.chassis.errors import unavailable
from services.chassis.identity import Caller, Signer, Verifier
from services.chassis.text import renderer
from services.comments.api import create_api
from services.comments.commands import posting
from services.comments.store import posting_rows
from services.contracts.comments import MOST_IN_BATCH
from services.contracts.services import ON_BEHALF
from tests.integration.comments_harness import ANN, BOB, MODERATOR, WINDOW, Harness, person
from tests.waiting import eventually

FOR_OTHERS = Caller("gateway", None, frozenset({ON_BEHALF}))
Send = Callable[..., Awaitable[httpx2.Response]]


@pytest.fixture
async def harness(new_database: Callable[..., Awaitable[Any]]) -> Harness:
    made = Harness(await new_database("services.chassis", "services.comments"))
    await made.publish_post()
    return made


@pytest.fixture
async def send(harness: Harness, keys: Mapping[str, str], signer: Callable[[str], Signer]) -> AsyncIterator[Send]:
    """Send a request to the internal API."""

    async def ready() -> Mapping[str, bool]:
        return {}

    app = create_api(harness.db, WINDOW, verifier=Verifier(keys["VERIFICATION_KEYS"], "comments"), ready=ready)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://comments") as client:

        async def post(path: str, body: object, who: Caller = FOR_OTHERS, **headers: str) -> httpx2.Response:
            token = signer("gateway").token("comments", who.person_id, who.roles)
            return await client.post(path, json=body, headers={"Authorization": f"Bearer {token}"} | headers)

        yield post


def item(post_id: UUID, text: object, who: Caller = ANN, key: str | None = None, **comment: Any) -> dict[str, Any]:
    return {
        "post_id": str(post_id),
        "author_id": str(person(who)),
        "roles": sorted(who.roles),
        "key": key,
        "request_id": f"request-{text}"[:64],
        "traceparent": f"00-{'1' * 32}-{'2' * 16}-01",
        "seconds": 5.0,
        "comment": {"body": text, **comment},
    }


async def stored(send: Send, *items: dict[str, Any]) -> list[dict[str, Any] | None]:
    answer = await send("/comments/batch", {"items": list(items)})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any] | None] = answer.json()["items"]
    return found


async def test_each_comment_is_stored_for_its_person_in_one_commit(harness: Harness, send: Send) -> None:
    top = await harness.post_comment()
    first, second, third = await stored(
        send,
        item(harness.post_id, "one", ANN),
        item(harness.post_id, "two *words*", BOB, parent_id=top["id"]),
        item(harness.post_id, "three", MODERATOR),
    )
    assert first and second and third
    assert [one["author_id"] for one in (first, second, third)] == [str(person(who)) for who in (ANN, BOB, MODERATOR)]
    assert second["body_html"] == "<p>two <em>words</em></p>\n"
    for shown, who in ((first, ANN), (second, BOB), (third, MODERATOR)):
        assert shown == await harness.read(shown["id"], who)
    events = (await harness.events())[1:]
    assert [event["comment_id"] for event in events] == [first["id"], second["id"], third["id"]]
    async with harness.db.reader() as reader:
        rows = await reader.fetch("select correlation_id, traceparent, xmin::text as commit from outbox order by id")
    assert [row["correlation_id"] for row in rows[1:]] == ["request-one", "request-two *words*", "request-three"]
    assert {row["traceparent"][:35] for row in rows[1:]} == {f"00-{'1' * 32}"}
    assert len({row["commit"] for row in rows[1:]}) == 1


async def test_a_moderators_role_counts_for_their_own_comment_only(harness: Harness, send: Send) -> None:
    await harness.change_post(discussion="held")
    held, shown = await stored(send, item(harness.post_id, "one", ANN), item(harness.post_id, "two", MODERATOR))
    assert held and shown
    assert (held["state"], shown["state"]) == ("held", "visible")


@pytest.mark.parametrize(
    "changes",
    [
        {"comment": {"body": ""}},
        {"comment": {}},
        {"comment": {"body": "x", "unknown": 1}},
        {"comment": {"body": "[](x)"}},
        {"comment": {"body": "a long text " * 200}},
        {"comment": {"body": "x", "parent_id": str(uuid4())}},
        {"post_id": str(uuid4())},
    ],
    ids=["empty", "no text", "unknown field", "shows nothing", "long", "unknown parent", "unknown post"],
)
async def test_what_is_left_harms_no_other(harness: Harness, send: Send, changes: dict[str, Any]) -> None:
    before, left, after = await stored(
        send,
        item(harness.post_id, "before"),
        item(harness.post_id, "x", BOB) | changes,
        item(harness.post_id, "after"),
    )
    assert before and after
    assert left is None
    assert await harness.count() == 2


async def test_a_closed_discussion_and_a_twin_are_left(harness: Harness, send: Send) -> None:
    (first,) = await stored(send, item(harness.post_id, "the same"))
    assert first
    assert await stored(send, item(harness.post_id, "the same")) == [None]
    twin, other = await stored(send, item(harness.post_id, "the same"), item(harness.post_id, "other"))
    assert (twin, bool(other)) == (None, True)
    assert await harness.count() == 2
    await harness.change_post(discussion="closed")
    assert await stored(send, item(harness.post_id, "too late")) == [None]


async def test_a_key_counts_for_both_ways_of_posting(harness: Harness, send: Send) -> None:
    path = f"/posts/{harness.post_id}/comments"
    (first,) = await stored(send, item(harness.post_id, "one", key="k"))
    assert first
    assert await stored(send, item(harness.post_id, "one", key="k")) == [None]
    alone = await send(path, {"body": "one"}, ANN, **{"Idempotency-Key": "k"})
    assert (alone.status_code, alone.headers["Idempotency-Replayed"]) == (201, "true")
    assert alone.json()["id"] == first["id"]
    reused = await send(path, {"body": "another"}, ANN, **{"Idempotency-Key": "k"})
    assert reused.json()["type"] == "/problems/idempotency-key-reused"
    again, other = await stored(send, item(harness.post_id, "two", key="l"), item(harness.post_id, "two", BOB, key="l"))
    assert again and other, "keys count per person"


async def test_a_used_key_beside_others_is_left(harness: Harness, send: Send) -> None:
    await stored(send, item(harness.post_id, "one", key="k"))
    used, new = await stored(send, item(harness.post_id, "two", key="k"), item(harness.post_id, "three", key="l"))
    assert (used, bool(new)) == (None, True)
    same = [item(harness.post_id, text, key="m") for text in ("four", "five")]
    assert await stored(send, *same) == [None, None], "a key counts once in a batch"


async def test_nobody_waits_for_a_long_text_of_somebody_else(harness: Harness, send: Send) -> None:
    rendered = threading.Event()
    long = asyncio.create_task(
        renderer._queue.run(lambda: rendered.wait(30), person(ANN), in_thread=True)  # a text of hers that takes long
    )
    try:
        await eventually(lambda: renderer.is_busy(person(ANN)))
        left, shown = await stored(send, item(harness.post_id, "x", ANN), item(harness.post_id, "y", BOB))
        assert (left, bool(shown)) == (None, True)
    finally:
        rendered.set()
        await long
    await eventually(lambda: not renderer.is_busy(person(ANN)))
    assert all(await stored(send, item(harness.post_id, "x", ANN), item(harness.post_id, "z", ANN)))


async def test_costly_texts_of_a_batch_let_other_requests_in_between(
    harness: Harness, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = []

    def costly(text: str, *_: object, **__: object) -> str:
        order.append(text)
        time.sleep(2 * posting.LONGEST_TURN_SECONDS)
        return f"<p>{text}</p>"

    async def others() -> None:
        while True:
            order.append("other")
            await asyncio.sleep(0)

    monkeypatch.setattr(posting, "render_at_once", costly)
    other = asyncio.create_task(others())
    assert all(await stored(send, *(item(harness.post_id, text) for text in ("one", "two", "three"))))
    other.cancel()
    texts = [order.index(text) for text in ("one", "two", "three")]
    assert all("other" in order[first:second] for first, second in itertools.pairwise(texts))


async def test_a_batch_of_unknown_outcome_is_unavailable(
    harness: Harness, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unknown(*_: object) -> None:
        raise unavailable("The database could not finish this; whether it happened is unknown.")

    monkeypatch.setattr(posting, "store_at_once", unknown)
    answer = await send("/comments/batch", {"items": [item(harness.post_id, "one"), item(harness.post_id, "two", BOB)]})
    assert answer.status_code == 503


async def test_a_key_that_was_stored_since_it_was_looked_for_stores_nothing(
    harness: Harness, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first,) = await stored(send, item(harness.post_id, "one", key="k"))
    assert first

    always = posting_rows.INSERT_IF_CURRENT.replace(idempotency.IS_FRESH, "true")
    assert always != posting_rows.INSERT_IF_CURRENT
    monkeypatch.setattr(posting_rows, "INSERT_IF_CURRENT", always)
    assert await stored(send, item(harness.post_id, "two", key="k"), item(harness.post_id, "three")) == [None, None]
    assert await harness.count() == 1


async def test_a_key_of_yesterday_is_new(harness: Harness, send: Send) -> None:
    await stored(send, item(harness.post_id, "one", key="k"))
    async with harness.db.transaction() as tx:
        await tx.execute("update idempotency_keys set created_at = now() - interval '25 hours'")
    (second, other) = await stored(send, item(harness.post_id, "two", key="k"), item(harness.post_id, "three", key="l"))
    assert second and other
    alone = await send(f"/posts/{harness.post_id}/comments", {"body": "two"}, ANN, **{"Idempotency-Key": "k"})
    assert alone.json()["id"] == second["id"]


async def test_nobody_waits_for_a_locked_discussion_of_others(harness: Harness, send: Send) -> None:
    locked, other = harness.post_id, await Harness(harness.db).publish_post()
    async with harness.db.transaction() as tx:
        await tx.execute("select from discussions where post_id = $1 for update", locked)
        left, shown = await stored(send, item(locked, "one"), item(other, "two"))
    assert left is None
    assert shown


async def test_one_for_which_nobody_waits_is_not_stored(harness: Harness, send: Send) -> None:
    late, shown = await stored(send, item(harness.post_id, "late") | {"seconds": 0.0}, item(harness.post_id, "in time"))
    assert (late, bool(shown)) == (None, True)


@pytest.mark.parametrize("who", [Caller("gateway"), ANN, MODERATOR])
async def test_only_a_token_for_others_may_name_them(harness: Harness, send: Send, who: Caller) -> None:
    answer = await send("/comments/batch", {"items": [item(harness.post_id, "x")]}, who)
    assert answer.status_code == 403
    assert await harness.count() == 0


async def test_a_batch_is_bounded(harness: Harness, send: Send) -> None:
    items = [item(harness.post_id, str(number)) for number in range(MOST_IN_BATCH + 1)]
    assert (await send("/comments/batch", {"items": items})).status_code == 422
    assert None not in await stored(send, *items[1:])
