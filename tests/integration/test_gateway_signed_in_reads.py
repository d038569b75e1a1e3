"""Who is signed in shares what gateways keep, and sees at once, through any of them, what they wrote themselves."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import httpx2
import pytest
from redis.asyncio import Redis

from services.chassis.client.client import ServiceResponse
from services.chassis.errors import not_found
from services.gateway.access import recent_writers
from services.gateway.access.counters import Policy
from services.gateway.access.recent_writers import DOUBT_SECONDS, RecentWriters
from services.gateway.access.valkey import Valkey
from services.gateway.access.valkey_faults import AWAY_SECONDS
from services.gateway.caching.response_cache import MOST_SECONDS
from tests.fault_proxy import FaultProxy, fault_proxy
from tests.integration.gateway_harness import ANNA, COMMENT, ID, GatewayHarness, NewHarness, harnesses
from tests.servers import PrivateServers
from tests.unit.gateway_fakes import Call, answered, raw_comment, raw_post
from tests.waiting import eventually

LIST, OWN = f"/posts/{ID}/comments", f"/posts/{ID}/own"
PATH = f"/v1{LIST}"
BEN = "01936f6e-0000-7000-8000-00000000000b"
MINE = raw_comment(2, author_id=ANNA)
TEXT = {"id": MINE["id"], "body": "Mine, as I *typed* it", "format": "markdown"}


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


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
    monkeypatch.setattr("services.gateway.guards.READING", Policy("reading", 3, 86_400, strict=False))
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


async def test_who_has_more_of_their_own_there_is_kept_an_answer_that_nobody_else_gets(harness: GatewayHarness) -> None:
    """Until something changes there; also while strangers ask for the same."""
    held = raw_comment(3, author_id=ANNA, state="held", body="Held", format="markdown")
    ben = harness.token("reader", person=BEN)
    await harness.get("/v1/me", **ben)

    def listed(call: Call) -> dict[str, object]:
        assert call.caller is not None
        return {"items": [COMMENT, held] if str(call.caller.person_id) == ANNA else [COMMENT], "next": None}

    harness.services.comments.on("GET", LIST, listed)
    harness.services.comments.on("GET", OWN, {"texts": None})
    shown = {len((await read(harness, who)).json()["items"]) for who in (None, ben, ben, None)}
    assert shown == {1}
    assert lists(harness) == 2
    answers = [await read(harness, who) for who in (harness.anna, harness.token("author"), harness.anna)]
    assert lists(harness) == 3 + 1, "the second token was not known yet"
    assert {len(answer.json()["items"]) for answer in answers} == {2}
    assert {answer.headers["Cache-Control"] for answer in answers} == {"private, no-cache"}
    unchanged = await read(harness, harness.anna, **{"If-None-Match": answers[0].headers["ETag"]})
    assert (unchanged.status_code, lists(harness)) == (304, 4)
    assert len((await read(harness)).json()["items"]) == len((await read(harness, ben)).json()["items"]) == 1
    harness.gateway.invalidation.comment(ID, BEN)
    assert len((await read(harness, harness.anna)).json()["items"]) == 2
    assert lists(harness) == 4 + 2, "as a stranger's, and as Anna's"


async def test_an_author_of_visible_comments_gets_their_texts_into_what_is_kept(harness: GatewayHarness) -> None:
    harness.services.comments.on("GET", OWN, {"texts": [TEXT]})
    harness.services.comments.on("GET", LIST, {"items": [COMMENT, MINE], "next": None})
    stranger = await read(harness)
    answer = await read(harness, harness.anna)
    assert lists(harness) == 1
    mine = raw_comment(2, author_id=ANNA, body=TEXT["body"], format=TEXT["format"])
    theirs = {"items": [COMMENT, mine], "next": None}
    harness.services.comments.on("GET", LIST, theirs)
    harness.services.comments.on("POST", LIST, answered({"type": "/problems/x"}, 500))
    await harness.comment()  # so that the owner is asked
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


async def test_who_wrote_through_this_gateway_shares_again_as_soon_as_it_is_done(harness: GatewayHarness) -> None:
    """What they wrote has evicted what was kept before; their own texts are asked for anew."""
    await read(harness, harness.anna)
    harness.services.comments.on("GET", LIST, {"items": [COMMENT, MINE], "next": None})
    harness.services.comments.on("GET", OWN, {"texts": [TEXT]})
    harness.services.comments.on("POST", LIST, answered(MINE, 201))
    assert (await harness.comment()).status_code == 201
    for _ in range(3):
        items = (await read(harness, harness.anna)).json()["items"]
        assert [item.get("body") for item in items] == [None, TEXT["body"]]
    assert (lists(harness), harness.services.comments.count("GET", OWN)) == (2, 2)
    assert harness.services.comments.last("GET", LIST).caller.person_id is None  # type: ignore[union-attr]


async def test_while_a_write_is_carried_out_or_its_end_is_not_known_the_owner_answers(harness: GatewayHarness) -> None:
    carried_out = asyncio.Event()

    async def posted() -> ServiceResponse:
        await carried_out.wait()
        return answered(COMMENT, 201)

    harness.services.comments.on("POST", LIST, lambda _: posted())
    await read(harness, harness.anna)
    writing = asyncio.create_task(harness.comment())
    await eventually(lambda: harness.services.comments.count("POST", LIST) == 1)
    for number in (2, 3):
        await read(harness, harness.anna)
        assert lists(harness) == number
    carried_out.set()
    assert (await writing).status_code == 201
    for _ in range(2):
        await read(harness, harness.anna)
        assert lists(harness) == 4
    writing = asyncio.create_task(harness.comment())
    carried_out.clear()
    await eventually(lambda: harness.services.comments.count("POST", LIST) == 2)
    writing.cancel()
    for number in (5, 6):
        await read(harness, harness.anna)
        assert lists(harness) == number


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


async def test_marks_that_valkey_has_lost_let_a_gateway_forget_what_it_kept_before(
    new_harness: NewHarness, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages of strangers too: they are as old."""
    monkeypatch.setattr(recent_writers, "DOUBT_SECONDS", 0.05)
    one, other = await made(new_harness), await made(new_harness)
    await read(other, other.anna)
    assert (await one.comment()).status_code == 201
    other.services.comments.on("GET", LIST, {"items": [COMMENT, MINE], "next": None})
    other.services.comments.on("GET", OWN, {"texts": [TEXT]})
    async with Redis.from_url(redis_url) as client:
        await client.flushdb()
    asked_of_the_owner = lists(other)

    async def shared_again() -> bool:
        assert len((await read(other, other.anna)).json()["items"]) == 2
        caller = other.services.comments.last("GET", LIST).caller
        return caller is not None and caller.person_id is None

    await eventually(shared_again)
    assert lists(other) > asked_of_the_owner + 1


async def test_a_mark_is_seen_by_others_and_ends_after_all_that_is_older_than_the_write(redis_url: str) -> None:
    one, other = (RecentWriters(Valkey(redis_url), longest_write=2.5) for _ in range(2))
    anna, ben = uuid4(), uuid4()
    try:
        assert await one.begin(anna)
        found = await asyncio.gather(*(other.wrote_lately(who) for who in (anna, ben, anna, ben)))
        assert found == [True, False, True, False]
        async with Redis.from_url(redis_url) as client:
            key = f"rapport:wrote:{anna}"
            assert 3 + MOST_SECONDS < await client.ttl(key) <= 3 + MOST_SECONDS + 5
            await client.delete(key)
        assert not await other.wrote_lately(anna)
    finally:
        await one._valkey.close()
        await other._valkey.close()


async def test_a_gateway_knows_its_own_writes_and_does_not_forget_those_of_others_for_them(redis_url: str) -> None:
    one, other, third = (RecentWriters(Valkey(redis_url), longest_write=5) for _ in range(3))
    anna, ben = uuid4(), uuid4()
    try:
        for who in (anna, anna, ben):
            await one.begin(who)
        one.end(anna)
        assert await one.wrote_lately(anna), "the other write is still under way"
        one.end(anna)
        one.end(ben)
        assert not await one.wrote_lately(anna)
        assert await other.wrote_lately(anna)
        await other.begin(anna)
        other.end(anna)
        assert [await each.wrote_lately(anna) for each in (one, other, third)] == [True] * 3
        assert [await each.wrote_lately(ben) for each in (one, other, third)] == [False, True, True]
    finally:
        for each in (one, other, third):
            await each._valkey.close()


@asynccontextmanager
async def watched(redis_url: str) -> AsyncIterator[tuple[FaultProxy, Clock, RecentWriters, list[int]]]:
    """Yield writers behind a proxy that can fail, their clock, and what is added to whenever marks may be lost."""
    parts = urlsplit(redis_url)
    assert parts.port is not None
    async with fault_proxy(parts.port) as proxy:
        now, lost = Clock(), list[int]()
        url = parts._replace(netloc=f"127.0.0.1:{proxy.port}").geturl()
        writers = RecentWriters(Valkey(url), longest_write=5, clock=now)
        writers.on_lost = lambda: lost.append(1)
        try:
            yield proxy, now, writers, lost
        finally:
            await writers._valkey.close()


async def test_after_an_outage_nothing_is_believed_until_all_can_mark_again_and_older_things_are_forgotten(
    redis_url: str,
) -> None:
    async with watched(redis_url) as (proxy, now, writers, lost):
        anna = uuid4()
        assert not await writers.wrote_lately(anna)
        assert not lost, "nothing is remembered yet"
        for number in (1, 2):
            if number == 1:
                proxy.reset()
            else:
                proxy.mode = "drop"
            assert await writers.wrote_lately(anna)
            proxy.heal()
            assert await writers.wrote_lately(anna), "it is left alone for a moment"
            now.now += AWAY_SECONDS
            assert await writers.wrote_lately(anna), "others may still leave it alone"
            now.now += DOUBT_SECONDS - 0.1
            assert await writers.wrote_lately(anna)
            assert len(lost) == number - 1
            now.now += 0.1 + AWAY_SECONDS
            assert not await writers.wrote_lately(anna)
            assert len(lost) == number


async def test_a_lost_connection_is_made_anew_at_once_and_doubted(redis_url: str) -> None:
    async with watched(redis_url) as (proxy, now, writers, lost):
        anna = uuid4()
        assert not await writers.wrote_lately(anna)
        proxy.reset()
        proxy.heal()
        assert await writers.wrote_lately(anna)
        assert proxy.connections == 1
        now.now += DOUBT_SECONDS
        assert not await writers.wrote_lately(anna)
        assert len(lost) == 1


async def test_valkey_that_lost_its_marks_without_a_sign_is_noticed_by_every_gateway(redis_url: str) -> None:
    anna = uuid4()
    async with (
        watched(redis_url) as (_, now, writers, lost),
        watched(redis_url) as (_, others_now, others, others_lost),
        Redis.from_url(redis_url) as client,
    ):
        for who in (writers, others):
            assert not await who.wrote_lately(anna)
        for number in (1, 2):
            await client.flushdb()
            assert await writers.wrote_lately(anna)
            assert await others.wrote_lately(anna), "though the first has left something there again"
            now.now += DOUBT_SECONDS
            others_now.now += DOUBT_SECONDS
            assert not await writers.wrote_lately(anna)
            assert not await others.wrote_lately(anna)
            assert (len(lost), len(others_lost)) == (number, number)


async def test_valkey_that_takes_no_marks_is_not_believed_to_have_none(private_servers: PrivateServers) -> None:
    anna, redis_url = uuid4(), private_servers.redis_url
    async with watched(redis_url) as (_, now, writers, lost), Redis.from_url(redis_url) as client:
        assert not await writers.wrote_lately(anna)
        before = await client.config_get("maxmemory")
        await client.config_set("maxmemory-policy", "noeviction")
        await client.config_set("maxmemory", 1)
        assert await writers.wrote_lately(anna)
        await client.config_set("maxmemory", str(before["maxmemory"]))
        now.now += AWAY_SECONDS
        assert await writers.wrote_lately(anna)
        now.now += DOUBT_SECONDS
        assert not await writers.wrote_lately(anna)
        assert len(lost) == 1
