"""Who is signed in shares what gateways keep, and sees at once, through any of them, what they wrote themselves."""

import asyncio
from collections.abc import AsyncIterator, Callable
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import httpx2
import pytest
from redis.asyncio import Redis

from services.chassis.errors import not_found
from services.gateway.access.counters import Policy
from services.gateway.access.recent_writers import RecentWriters
from services.gateway.caching.response_cache import MOST_SECONDS
from tests.fault_proxy import fault_proxy
from tests.integration.gateway_harness import ANNA, COMMENT, ID, GatewayHarness, NewHarness, harnesses
from tests.unit.gateway_fakes import Call, answered, raw_comment, raw_post

LIST, OWN = f"/posts/{ID}/comments", f"/posts/{ID}/own"
PATH = f"/v1{LIST}"
MINE = raw_comment(2, author_id=ANNA)
TEXT = {"id": MINE["id"], "body": "Mine, as I *typed* it", "format": "markdown"}


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def new_harness(keys: dict[str, str], redis_url: str) -> AsyncIterator[NewHarness]:
    async with harnesses(keys, redis_url) as make:
        yield make


@pytest.fixture
async def harness(new_harness: NewHarness) -> GatewayHarness:
    return await made(new_harness)


async def made(new_harness: NewHarness) -> GatewayHarness:
    """Return a gateway over comments in which Anna has written nothing, and whose events are followed."""
    harness = await new_harness()
    harness.gateway.cache.set_following(True)
    harness.services.comments.on("GET", OWN, {"texts": []})
    await harness.get("/v1/me", **harness.anna)  # so that her token is known
    return harness


def lists(harness: GatewayHarness) -> int:
    """Return how often the owner was asked for the list."""
    return harness.services.comments.count("GET", LIST)


async def read(harness: GatewayHarness, who: dict[str, str] | None = None, **headers: str) -> httpx2.Response:
    return await harness.get(PATH, **(who or {}), **headers)


async def test_strangers_and_people_who_wrote_nothing_there_share_one_answer(harness: GatewayHarness) -> None:
    """Whoever comes first, it is asked for as a stranger's; each answer has its own id, and theirs are private."""
    for who in (harness.anna, None, harness.anna):
        answer = await read(harness, who, **{"X-Request-ID": "mine"})
        assert answer.status_code == 200
        assert answer.headers["X-Request-ID"] == "mine"
        assert answer.headers["Cache-Control"] == ("private" if who else "public") + ", no-cache"
        assert answer.headers["Vary"] == "Authorization, Cookie, Accept-Encoding"
    assert lists(harness) == 1
    assert harness.services.comments.last("GET", LIST).caller.person_id is None  # type: ignore[union-attr]
    first, second = await read(harness, harness.anna), await read(harness)
    assert first.content == second.content
    assert first.headers["ETag"] == second.headers["ETag"]
    unchanged = await read(harness, harness.anna, **{"If-None-Match": first.headers["ETag"]})
    assert (unchanged.status_code, unchanged.headers["Cache-Control"]) == (304, "private, no-cache")
    assert lists(harness) == 1
    assert harness.services.comments.count("GET", OWN) == 1


@pytest.mark.parametrize("path", ["/v1/comments/{id}", "/v1/comments/{id}/replies", "/v1/comment-counts?post={post}"])
async def test_other_reads_of_discussions_are_shared_too(harness: GatewayHarness, path: str) -> None:
    path = path.format(id=COMMENT["id"], post=ID)
    harness.services.comments.on("GET", path.removeprefix("/v1"), COMMENT)
    harness.services.comments.on("GET", f"/comments/{COMMENT['id']}/replies", {"items": [MINE], "next": None})
    answers = [await harness.get(path), await harness.get(path, **harness.anna)]
    assert [answer.status_code for answer in answers] == [200, 200]
    asked = len(harness.services.comments.calls)
    assert (await harness.get(path, **harness.anna)).content == answers[0].content
    assert len(harness.services.comments.calls) == asked


async def test_a_question_for_all_is_counted_as_the_person_who_caused_it_and_what_is_kept_is_not_counted(
    new_harness: NewHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.guards.READING", Policy("reading", 3, 60, strict=False))
    harness = await new_harness(rate_limits="on")
    harness.gateway.cache.set_following(True)
    harness.services.comments.on("GET", OWN, {"texts": []})
    statuses = [(await harness.get(f"{PATH}?limit={number}")).status_code for number in range(1, 5)]
    assert statuses == [200, 200, 200, 429], "of the network"
    statuses = [(await harness.get(f"{PATH}?limit={number}", **harness.anna)).status_code for number in range(5, 9)]
    assert statuses == [200, 200, 200, 429], "of the person, though they come from that network"
    for _ in range(5):
        assert (await harness.get(f"{PATH}?limit=6", **harness.anna)).status_code == 200


@pytest.mark.parametrize("path", [f"/v1/posts/{ID}", "/v1/posts", "/v1/tags"])
async def test_what_is_published_is_shared_with_everybody(harness: GatewayHarness, path: str) -> None:
    """With moderators and admins too, who see no more of it: what they alone see is not kept."""
    harness.services.posts.on("GET", "/tags", {"items": [], "next": None})
    moderator, admin = harness.token("moderator"), harness.token("admin")
    for who in (moderator, admin):
        await harness.get("/v1/me", **who)  # so that the token is known
    stranger = await harness.get(path)
    asked = len(harness.services.posts.calls)
    for who in (harness.anna, moderator, admin):
        assert (await harness.get(path, **who)).content == stranger.content
    assert len(harness.services.posts.calls) == asked


async def test_a_draft_is_shown_to_its_readers_alone_though_another_moderates(harness: GatewayHarness) -> None:
    draft = raw_post(status="draft", published_at=None)
    moderator, admin = harness.token("moderator"), harness.token("admin")

    def shown(call: Call) -> object:
        assert call.caller is not None
        return draft if "admin" in call.caller.roles else not_found()

    harness.services.posts.on("GET", f"/posts/{ID}", shown)
    for who in (moderator, admin):
        await harness.get("/v1/me", **who)
    for _ in range(2):
        for who, status in ((admin, 200), (moderator, 404), (harness.anna, 404), ({}, 404)):
            assert (await harness.get(f"/v1/posts/{ID}", **who)).status_code == status


async def test_what_is_somebodys_own_is_asked_of_the_owner(harness: GatewayHarness) -> None:
    harness.services.comments.on("GET", OWN, {"texts": None})
    for number in (1, 2):
        await read(harness)
        answer = await read(harness, harness.anna)
        assert answer.status_code == 200
        assert lists(harness) == 1 + number
        assert str(harness.services.comments.last("GET", LIST).caller.person_id) == ANNA  # type: ignore[union-attr]


async def test_an_author_of_visible_comments_gets_their_texts_into_what_is_kept(harness: GatewayHarness) -> None:
    harness.services.comments.on("GET", OWN, {"texts": [TEXT]})
    harness.services.comments.on("GET", LIST, {"items": [COMMENT, MINE], "next": None})
    stranger = await read(harness)
    answer = await read(harness, harness.anna)
    assert lists(harness) == 1
    theirs = {"items": [COMMENT, MINE | {"body": TEXT["body"], "format": TEXT["format"]}], "next": None}
    harness.services.comments.on("GET", LIST, theirs)
    await harness.comment()
    asked = await read(harness, harness.anna)
    assert lists(harness) == 2
    assert (answer.content, answer.headers["ETag"]) == (asked.content, asked.headers["ETag"])
    assert stranger.headers["ETag"] != answer.headers["ETag"]
    for tag, status in ((answer.headers["ETag"], 304), (stranger.headers["ETag"], 200)):
        assert (await read(harness, harness.anna, **{"If-None-Match": tag})).status_code == status


async def test_what_somebody_wrote_is_seen_at_once_through_any_gateway(new_harness: NewHarness) -> None:
    """Though the other one has heard of nothing, and remembers that they have nothing there."""
    one, other = await made(new_harness), await made(new_harness)
    for harness in (one, other):
        await read(harness, harness.anna)
        await read(harness, harness.anna)
        assert lists(harness) == 1
    assert (await one.comment()).status_code == 201
    other.services.comments.on("GET", LIST, {"items": [COMMENT, MINE], "next": None})
    for number in (2, 3):
        assert len((await read(other, other.anna)).json()["items"]) == 2
        assert lists(other) == number
    assert len((await read(other)).json()["items"]) == 1, "a stranger waits for the event"
    assert len((await read(other, other.token("author"))).json()["items"]) == 2, "whatever their token"


async def test_a_refused_write_marks_too_and_reading_does_not(harness: GatewayHarness) -> None:
    await read(harness)
    await harness.get("/v1/me", **harness.anna)
    await read(harness, harness.anna)
    assert lists(harness) == 1
    harness.services.comments.on("POST", LIST, answered({"type": "/problems/x"}, 500))
    await harness.comment()
    await read(harness, harness.anna)
    assert lists(harness) == 2


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/preview", {"body": "x"}),
        ("PATCH", "/v1/me/notifications", {"read": "all"}),
        ("PUT", f"/v1/posts/{ID}/follow", None),
    ],
)
async def test_who_changes_what_nobody_else_sees_goes_on_sharing(
    harness: GatewayHarness, method: str, path: str, body: object
) -> None:
    await read(harness)
    await harness.http.request(method, path, json=body, headers=harness.anna)
    assert not await harness.gateway.recent_writers.wrote_lately(UUID(ANNA))
    await read(harness, harness.anna)
    assert lists(harness) == 1


async def test_all_moderators_share_what_is_kept_for_them_and_nobody_else_gets_it(harness: GatewayHarness) -> None:
    held = raw_comment(3, state="held", body="Held", format="markdown")
    moderator, admin = harness.token("moderator"), harness.token("admin")

    def listed(call: Call) -> dict[str, object]:
        assert call.caller is not None
        return {"items": [COMMENT, held] if call.caller.roles & {"moderator", "admin"} else [COMMENT], "next": None}

    harness.services.comments.on("GET", LIST, listed)
    for who in (moderator, admin):
        await harness.get("/v1/me", **who)  # so that the token is known
        await read(harness)
    assert lists(harness) == 1
    answers = [await read(harness, who) for who in (moderator, admin, moderator)]
    assert lists(harness) == 2
    assert len({answer.content for answer in answers}) == 1
    assert len(answers[0].json()["items"]) == 2
    assert {answer.headers["Cache-Control"] for answer in answers} == {"private, no-cache"}
    for other in (None, harness.anna):
        assert len((await read(harness, other)).json()["items"]) == 1
    harness.gateway.invalidation.comment(ID, ANNA)
    await read(harness, moderator)
    assert lists(harness) == 3
    assert harness.services.comments.count("GET", OWN) == 1, "Anna's"


async def test_what_a_stranger_may_not_see_is_asked_of_the_owner(harness: GatewayHarness) -> None:
    theirs = {"items": [COMMENT], "next": None}
    harness.services.comments.on("GET", LIST, lambda call: theirs if call.caller.person_id else not_found())
    assert (await read(harness, harness.anna)).status_code == 200
    assert (await read(harness)).status_code == 404


async def test_without_valkey_the_owner_is_asked_and_writes_go_on(
    keys: dict[str, str], free_port: Callable[[], int]
) -> None:
    async with harnesses(keys, f"redis://127.0.0.1:{free_port()}/0") as make:
        harness = await made(make)
        await read(harness)
        for _ in range(2):
            await read(harness, harness.anna)
        assert lists(harness) == 3
        assert (await harness.comment()).status_code == 201


async def test_a_mark_is_seen_by_all_and_ends_after_all_that_is_older_than_the_write(redis_url: str) -> None:
    one, other = (RecentWriters(redis_url, longest_write=2.5) for _ in range(2))
    anna, ben = uuid4(), uuid4()
    try:
        assert await one.mark(anna)
        found = await asyncio.gather(*(other.wrote_lately(who) for who in (anna, ben, anna, ben)))
        assert found == [True, False, True, False]
        async with Redis.from_url(redis_url) as client:
            (key,) = await client.keys("rapport:wrote:*")
            assert 3 + MOST_SECONDS < await client.ttl(key) <= 3 + MOST_SECONDS + 5
            await client.delete(key)
        assert not await other.wrote_lately(anna)
    finally:
        await one.close()
        await other.close()


async def test_a_new_connection_forgets_what_was_remembered_before_a_mark_could_be_lost(redis_url: str) -> None:
    parts = urlsplit(redis_url)
    assert parts.port is not None
    async with fault_proxy(parts.port) as proxy:
        url = parts._replace(netloc=f"127.0.0.1:{proxy.port}").geturl()
        now, anna, forgotten = Clock(), uuid4(), list[int]()
        writers = RecentWriters(url, longest_write=5, clock=now)
        writers.on_connected = lambda: forgotten.append(1)
        try:
            assert not await writers.wrote_lately(anna)
            proxy.reset()
            proxy.heal()
            assert not await writers.wrote_lately(anna), "the server is there, so a new connection is made at once"
            assert len(forgotten) == 2
            proxy.mode = "drop"
            assert await writers.wrote_lately(anna), "it does not answer, so nothing is known"
            proxy.heal()
            assert await writers.wrote_lately(anna), "it is left alone for a moment"
            now.now += 2
            assert not await writers.wrote_lately(anna)
            assert len(forgotten) == 3
        finally:
            await writers.close()
