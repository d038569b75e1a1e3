"""Short comments that come at the same time travel to comments in one request; what needs more is sent alone."""

import asyncio
import time
from typing import Any
from uuid import UUID, uuid4

import httpx2
import orjson
import pytest

from services.chassis.client.client import SERVICE_DEADLINE_SHARE
from services.chassis.errors import Problem, not_found
from services.chassis.identity import Caller
from services.contracts.comments import SHORT_COMMENT_BYTES
from services.contracts.services import ON_BEHALF
from tests.integration.gateway_harness import ANNA, COMMENT, ID, GatewayHarness, NewHarness, kind
from tests.unit.gateway_fakes import Call, raw_comment
from tests.waiting import eventually


class Comments:
    """The batch route of comments: it stores each comment whose text is not `alone`, and waits while it is closed."""

    def __init__(self, harness: GatewayHarness) -> None:
        self.batches: list[list[dict[str, Any]]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.begun = asyncio.Event()
        self.service = harness.services.comments
        self.service.on("POST", "/comments/batch", self.store)

    async def store(self, call: Call) -> dict[str, Any]:
        items = call.body["items"]
        self.batches.append(items)
        self.begun.set()
        await self.open.wait()
        return {"items": [None if item["comment"]["body"] == "alone" else self.stored(item) for item in items]}

    def stored(self, item: dict[str, Any]) -> dict[str, Any]:
        number = int(item["comment"]["body"])
        return raw_comment(number, author_id=item["author_id"])

    @property
    def alone(self) -> int:
        """How many came by themselves."""
        return self.service.count("POST", f"/posts/{ID}/comments")


@pytest.fixture
def comments(harness: GatewayHarness) -> Comments:
    return Comments(harness)


async def post(harness: GatewayHarness, body: object, who: UUID | None = None, **headers: str) -> httpx2.Response:
    token = harness._signer.token("rapport", who or uuid4(), ["reader"], 900, session_id=uuid4())
    sent = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    content = body if isinstance(body, bytes) else orjson.dumps({"body": body})
    return await harness.http.post(f"/v1/posts/{ID}/comments", content=content, headers=sent)


async def test_comments_that_come_meanwhile_travel_together(harness: GatewayHarness, comments: Comments) -> None:
    comments.open.clear()
    people = [uuid4() for _ in range(10)]
    answers = [asyncio.create_task(post(harness, str(number), people[number])) for number in range(10)]
    await comments.begun.wait()
    comments.open.set()
    for number, answer in enumerate(await asyncio.gather(*answers)):
        assert answer.status_code == 201
        assert answer.json()["id"] == raw_comment(number)["id"]
        assert answer.json()["author"]["id"] == str(people[number])
        assert answer.headers["Location"] == f"/v1/comments/{raw_comment(number)['id']}"
        assert answer.headers["ETag"]
    assert sum(len(batch) for batch in comments.batches) == 10
    assert len(comments.batches) < 10
    assert comments.alone == 0


async def test_a_batch_says_for_whom_each_comment_is(harness: GatewayHarness, comments: Comments) -> None:
    answer = await post(harness, "7", UUID(ANNA), Idempotency_Key="a key", X_Request_ID="mine")
    assert answer.status_code == 201
    (call,) = [call for call in harness.services.comments.calls if call.path == "/comments/batch"]
    assert call.caller == Caller("gateway", None, frozenset({ON_BEHALF}))
    (item,) = call.body["items"]
    assert 0 < item.pop("seconds") <= harness.gateway.settings.write_deadline_seconds
    assert item.pop("traceparent").startswith("00-")
    assert item == {
        "post_id": ID,
        "author_id": ANNA,
        "roles": ["reader"],
        "key": "a key",
        "request_id": "mine",
        "comment": {"body": "7"},
    }


async def test_one_batch_is_under_way_and_the_rest_waits(harness: GatewayHarness, comments: Comments) -> None:
    comments.open.clear()
    answers = [asyncio.create_task(post(harness, "0"))]
    await comments.begun.wait()
    answers += [asyncio.create_task(post(harness, str(number))) for number in (1, 2, 3)]
    await eventually(lambda: len(harness.gateway.posting._batcher._waiting) == 3)
    assert [len(batch) for batch in comments.batches] == [1]
    comments.open.set()
    assert {answer.status_code for answer in await asyncio.gather(*answers)} == {201}
    assert [len(batch) for batch in comments.batches] == [1, 3]


async def test_what_waited_has_the_less_time_left(harness: GatewayHarness, comments: Comments) -> None:
    comments.open.clear()
    first = asyncio.create_task(post(harness, "0"))
    await comments.begun.wait()
    last = asyncio.create_task(post(harness, "1"))
    await eventually(lambda: len(harness.gateway.posting._batcher._waiting) == 1)
    waited = time.monotonic() + 0.3
    await eventually(lambda: time.monotonic() >= waited)
    comments.open.set()
    await asyncio.gather(first, last)
    of_first, of_last = comments.batches[0][0]["seconds"], comments.batches[1][0]["seconds"]
    assert 0 < of_last <= of_first - 0.3 * SERVICE_DEADLINE_SHARE


async def test_what_nobody_waits_for_is_not_sent(new_harness: NewHarness) -> None:
    harness = await new_harness(write_deadline_seconds=0.5)
    comments = Comments(harness)
    comments.open.clear()
    first = asyncio.create_task(post(harness, "0"))
    await comments.begun.wait()
    late = asyncio.create_task(post(harness, "1"))
    assert {answer.status_code for answer in await asyncio.gather(first, late)} == {503}
    comments.open.set()
    assert (await post(harness, "2")).status_code == 201
    assert [[item["comment"]["body"] for item in batch] for batch in comments.batches] == [["0"], ["2"]]


async def test_what_comments_leaves_is_sent_alone(harness: GatewayHarness, comments: Comments) -> None:
    harness.services.comments.on("POST", f"/posts/{ID}/comments", Problem("discussion-closed", "It is closed."))
    refused, stored = await asyncio.gather(post(harness, "alone", Idempotency_Key="k"), post(harness, "3"))
    assert (refused.status_code, kind(refused)) == (409, "discussion-closed")
    assert stored.status_code == 201
    call = harness.services.comments.last("POST", f"/posts/{ID}/comments")
    assert (call.body, call.headers["Idempotency-Key"]) == ({"body": "alone"}, "k")


@pytest.mark.parametrize(
    "body",
    [
        orjson.dumps({"body": "x" * SHORT_COMMENT_BYTES}),
        b'{"body": "\\u0000"}',
        b'{"body": "\\ud800"}',
        b'{"body": "x", "parent_id": [[[]]]}',
        b'["x"]',
    ],
    ids=["long", "NUL", "lone surrogate", "nested", "no object"],
)
async def test_what_could_harm_others_is_not_in_a_batch(
    harness: GatewayHarness, comments: Comments, body: bytes
) -> None:
    harness.services.comments.on("POST", f"/posts/{ID}/comments", Problem("invalid", "It is wrong."))
    assert (await post(harness, body)).status_code == 422
    assert comments.batches == []


async def test_a_malformed_key_is_not_in_a_batch(harness: GatewayHarness, comments: Comments) -> None:
    assert (await post(harness, "1", Idempotency_Key="x" * 256)).status_code == 201
    assert (comments.batches, comments.alone) == ([], 1)


async def test_a_batch_of_unknown_outcome_is_not_repeated(harness: GatewayHarness, comments: Comments) -> None:
    harness.services.comments.on("POST", "/comments/batch", None)
    answers = await asyncio.gather(*(post(harness, str(number)) for number in range(3)))
    assert [kind(answer) for answer in answers] == ["unavailable"] * 3
    assert comments.alone == 0


async def test_an_older_version_of_comments_gets_each_alone(harness: GatewayHarness, comments: Comments) -> None:
    harness.services.comments.on("POST", "/comments/batch", not_found())
    answer = await post(harness, "1")
    assert (answer.status_code, answer.json()["id"]) == (201, COMMENT["id"])
    assert comments.alone == 1


async def test_one_that_hangs_holds_up_nobody_beyond_their_deadline(new_harness: NewHarness) -> None:
    hasty = await new_harness(write_deadline_seconds=0.3)
    slow = Comments(hasty)
    slow.open.clear()
    answers = await asyncio.gather(*(post(hasty, str(number)) for number in range(6)))
    assert {kind(answer) for answer in answers} == {"unavailable"}
    slow.open.set()


async def test_one_person_has_few_comments_under_way(harness: GatewayHarness, comments: Comments) -> None:
    comments.open.clear()
    person = uuid4()
    answers = [asyncio.create_task(post(harness, str(number), person)) for number in range(6)]
    await comments.begun.wait()
    for _ in range(20):
        await asyncio.sleep(0)
    assert sum(len(batch) for batch in comments.batches) <= 2
    comments.open.set()
    assert {answer.status_code for answer in await asyncio.gather(*answers)} == {201}
