"""Answers composed of several services' answers."""

import asyncio
import time
from typing import Any
from uuid import UUID

import orjson
import pytest

from services.chassis.errors import Problem, not_found, unavailable
from services.chassis.identity import Caller
from services.gateway.access.authentication import Viewer
from services.gateway.composition import comment_views, post_page, post_views, profile_views
from services.gateway.composition.author_cache import AuthorCache
from services.gateway.composition.request_context import Composed, RequestContext
from tests.unit.gateway_fakes import FakeServices, raw_comment, raw_post

POST = raw_post()
ID, SLUG = POST["id"], POST["slug"]
ANNA = POST["author_id"]
BEN = raw_comment()["author_id"]
UNKNOWN = Problem("post-unknown")


class Harness:
    """Services that work, and contexts of requests over them."""

    def __init__(self) -> None:
        self.services = services = FakeServices()
        services.posts.on("GET", f"/posts/{SLUG}", POST)
        services.posts.on("GET", f"/posts/{ID}", POST)
        services.comments.on("GET", f"/posts/{ID}/comments", {"items": [raw_comment(1)], "next": None})
        services.comments.on("POST", "/counts", lambda call: {"counts": dict.fromkeys(call.body["post_ids"], 7)})
        services.people.on("POST", "/people/lookup", lambda call: {"items": [_author(one) for one in call.body["ids"]]})
        self.authors = AuthorCache(self._look_up)
        self.slugs: dict[str, str] = {}

    async def _look_up(self, ids: list[str], deadline: float) -> list[dict[str, Any]]:
        people = self.services.upstreams.people
        answer = await people.look_up("/people/lookup", Caller("gateway"), deadline, {"ids": ids})
        items: list[dict[str, Any]] = answer["items"]
        return items

    def context(
        self, person: str | None = None, *roles: str, seconds: float = 2.0, sure: bool = True
    ) -> RequestContext:
        caller = Caller("gateway", UUID(person) if person else None, frozenset(roles))
        return RequestContext(
            self.services.upstreams,
            self.authors,
            self.slugs,
            "https://rapport.test",
            0.2,
            Viewer(caller, sure=sure),
            time.monotonic() + seconds,
        )

    async def page(self, context: RequestContext | None = None, ref: str = SLUG) -> dict[str, Any]:
        return (await post_page.page(context or self.context(), ref)).data


def _author(person_id: str) -> dict[str, Any]:
    return {"id": person_id, "name": f"Name {person_id[-1]}", "avatar_url": None}


@pytest.fixture
def harness() -> Harness:
    return Harness()


def listed(composed: Composed) -> Any:
    assert composed.content is not None
    return orjson.loads(composed.content)


async def kind_of(awaitable: Any) -> str:
    with pytest.raises(Problem) as caught:
        await awaitable
    return caught.value.kind


async def test_the_page_has_all_its_parts(harness: Harness) -> None:
    shown = await harness.page()
    assert list(shown) == ["post", "comments", "comment_count", "viewer", "unavailable"]
    assert shown["post"]["author"]["name"] == "Name a"
    assert shown["comments"]["items"][0]["author"]["name"] == "Name b"
    assert shown["comment_count"] == shown["post"]["comment_count"] == 7
    assert shown["viewer"] is None
    assert shown["unavailable"] == []
    assert harness.services.people.count("POST", "/people/lookup") == 1


@pytest.mark.parametrize("ref", [SLUG, ID])
async def test_a_page_asks_each_service_once(harness: Harness, ref: str) -> None:
    await harness.page(ref=ref)
    await harness.page(ref=ref)
    assert harness.services.posts.count("GET", f"/posts/{ref}") == 2
    assert harness.services.comments.count("GET", f"/posts/{ID}/comments") == 2


async def test_a_slug_that_moved_to_another_post_shows_that_posts_comments(harness: Harness) -> None:
    await harness.page()
    other = ID[:-1] + "2"
    harness.services.posts.on("GET", f"/posts/{SLUG}", raw_post(id=other))
    harness.services.comments.on("GET", f"/posts/{other}/comments", {"items": [], "next": None})
    shown = await harness.page()
    assert shown["post"]["id"] == other
    assert shown["comments"]["items"] == []


async def test_without_comments_the_page_is_served_and_names_what_is_missing(harness: Harness) -> None:
    harness.services.comments.away = True
    context = harness.context()
    shown = await harness.page(context)
    assert shown["comments"] is None
    assert shown["comment_count"] is None
    assert shown["post"]["comment_count"] is None
    assert sorted(shown["unavailable"]) == ["comment_count", "comments"]
    assert context.missing == shown["unavailable"]


async def test_without_people_authors_have_no_names(harness: Harness) -> None:
    harness.services.people.away = True
    shown = await harness.page(harness.context(ANNA, "author"))
    assert shown["post"]["author"] == {"id": ANNA, "name": None, "avatar_url": None}
    assert (shown["viewer"]["id"], shown["viewer"]["name"], shown["viewer"]["can_comment"]) == (ANNA, None, True)
    assert shown["unavailable"] == ["people"]


async def test_comments_that_use_up_their_time_leave_some_for_names(harness: Harness) -> None:
    async def slow(call: Any) -> Any:
        await asyncio.sleep(call.deadline - time.monotonic())
        return unavailable("comments did not answer in time.")

    given: list[float] = []

    async def look_up(ids: list[str], deadline: float) -> list[dict[str, Any]]:
        given.append(deadline - time.monotonic())
        return [_author(one) for one in ids]

    harness.authors = AuthorCache(look_up)
    harness.services.comments.on("GET", f"/posts/{ID}/comments", slow)
    harness.services.comments.on("POST", "/counts", slow)
    shown = await harness.page(harness.context(ANNA, seconds=1.0))
    assert shown["post"]["author"]["name"] == "Name a"
    assert shown["viewer"]["name"] == "Name a"
    assert set(shown["unavailable"]) == {"comments", "comment_count"}
    assert given[0] >= 0.2


async def test_names_are_asked_for_with_time_left_whatever_was_slow_before(harness: Harness) -> None:
    given: list[float] = []

    async def look_up(ids: list[str], deadline: float) -> list[dict[str, Any]]:
        given.append(deadline - time.monotonic())
        return [_author(one) for one in ids]

    harness.authors = AuthorCache(look_up)
    context = harness.context(seconds=0.5)

    async def late(_: Any) -> Any:
        await asyncio.sleep(0.45)
        return {"items": [raw_comment(1)], "next": None}

    harness.services.comments.on("GET", f"/posts/{ID}/comments", late)
    shown = listed(await comment_views.under(context, ID, {}))
    assert shown["items"][0]["author"]["name"] == "Name b"
    assert given[0] >= 0.2


async def test_without_posts_there_is_no_page(harness: Harness) -> None:
    harness.services.posts.away = True
    assert await kind_of(harness.page()) == "unavailable"
    harness.services.posts.away = False
    harness.services.posts.on("GET", "/posts/none", not_found())
    assert await kind_of(harness.page(ref="none")) == "not-found"


@pytest.mark.parametrize(
    ("person", "roles", "discussion_is", "can"),
    [
        (ANNA, ["author"], "open", (True, False, True)),
        (ANNA, ["reader"], "held", (True, False, False)),
        (BEN, ["author"], "closed", (False, False, False)),
        (BEN, ["moderator"], "open", (True, True, False)),
        (BEN, ["admin"], "closed", (False, True, True)),
    ],
)
async def test_the_page_tells_what_the_viewer_may_do(
    harness: Harness, person: str, roles: list[str], discussion_is: str, can: tuple[bool, ...]
) -> None:
    harness.services.posts.on("GET", f"/posts/{SLUG}", raw_post(discussion=discussion_is))
    viewer = (await harness.page(harness.context(person, *roles)))["viewer"]
    assert viewer["name"] == f"Name {person[-1]}"
    assert viewer["roles"] == roles
    assert (viewer["can_comment"], viewer["can_moderate"], viewer["can_edit_post"]) == can


async def test_a_draft_has_a_page_for_its_author_and_no_comments(harness: Harness) -> None:
    harness.services.posts.on("GET", f"/posts/{ID}", raw_post(status="draft", published_at=None))
    harness.services.comments.on("GET", f"/posts/{ID}/comments", UNKNOWN)
    shown = await harness.page(harness.context(ANNA, "author"), ref=ID)
    assert shown["comments"] == {"items": [], "next": None}
    assert shown["comment_count"] == 0
    assert shown["viewer"]["can_comment"] is False
    assert shown["unavailable"] == []


async def test_a_page_waits_briefly_while_comments_does_not_know_the_post(harness: Harness) -> None:
    answers = [UNKNOWN, UNKNOWN, {"items": [], "next": None}]
    harness.services.comments.on("GET", f"/posts/{ID}/comments", lambda _: answers.pop(0))
    shown = await harness.page()
    assert shown["comments"] == {"items": [], "next": None}
    harness.services.comments.on("GET", f"/posts/{ID}/comments", UNKNOWN)
    shown = await harness.page()
    assert shown["comments"] is None
    assert shown["unavailable"] == ["comments"]


async def test_a_request_is_repeated_while_comments_does_not_know_the_post(harness: Harness) -> None:
    answers = [UNKNOWN, UNKNOWN, {"items": [raw_comment(1)], "next": None}]
    harness.services.comments.on("GET", f"/posts/{ID}/comments", lambda _: answers.pop(0))
    shown = listed(await comment_views.under(harness.context(BEN), ID, {}))
    assert len(shown["items"]) == 1
    asked = [call.caller for call in harness.services.posts.calls]
    assert [str(caller.person_id) for caller in asked if caller] == [BEN]


async def test_comments_of_a_post_that_is_not_published_are_not_found(harness: Harness) -> None:
    harness.services.comments.on("GET", f"/posts/{ID}/comments", UNKNOWN)
    harness.services.posts.on("GET", f"/posts/{ID}", not_found())
    assert await kind_of(comment_views.under(harness.context(BEN), ID, {})) == "not-found"
    harness.services.posts.on("GET", f"/posts/{ID}", raw_post(status="draft"))
    assert await kind_of(comment_views.under(harness.context(ANNA), ID, {})) == "not-found"


async def test_a_published_post_that_stays_unknown_to_comments_is_503_and_never_404(harness: Harness) -> None:
    harness.services.comments.on("GET", f"/posts/{ID}/comments", UNKNOWN)
    with pytest.raises(Problem) as caught:
        await comment_views.under(harness.context(seconds=0.2), ID, {})
    assert caught.value.kind == "unavailable"
    assert caught.value.headers["Retry-After"] == "1"


async def test_drafts_in_a_list_are_not_counted(harness: Harness) -> None:
    items = [raw_post(), raw_post(id=ID[:-1] + "2", status="withdrawn")]
    harness.services.posts.on("GET", "/posts", {"items": items, "next": "more"})
    shown = (await post_views.listed(harness.context(), {})).data
    assert [one["comment_count"] for one in shown["items"]] == [7, 0]
    assert shown["next"] == "more"
    assert harness.services.comments.calls[-1].body == {"post_ids": [ID]}


async def test_without_comments_a_profile_is_served_without_its_count(harness: Harness) -> None:
    harness.services.people.on("GET", f"/people/{BEN}", _author(BEN) | {"created_at": "2026-11-23T04:35:00.000Z"})
    harness.services.comments.on("POST", "/counts/people", {"counts": {BEN: 3}})
    assert (await profile_views.profile(harness.context(), BEN)).data["comment_count"] == 3
    harness.services.comments.away = True
    context = harness.context()
    assert (await profile_views.profile(context, BEN)).data["comment_count"] is None
    assert context.missing == ["comment_count"]


async def test_a_profile_has_its_count_however_its_id_is_spelled(harness: Harness) -> None:
    spelled = BEN.upper()
    assert spelled != BEN
    harness.services.people.on("GET", f"/people/{spelled}", _author(BEN) | {"created_at": "2026-11-23T04:35:00.000Z"})
    harness.services.comments.on("POST", "/counts/people", {"counts": {BEN: 3}})
    assert (await profile_views.profile(harness.context(), spelled)).data["comment_count"] == 3


async def test_an_unchecked_viewer_is_named_as_missing(harness: Harness) -> None:
    shown = await harness.page(harness.context(sure=False))
    assert shown["viewer"] is None
    assert shown["unavailable"] == ["viewer"]


async def test_a_refused_token_of_the_gateway_itself_is_503(harness: Harness) -> None:
    harness.services.posts.on("GET", "/posts", Problem("invalid-token"))
    assert await kind_of(post_views.listed(harness.context(), {})) == "unavailable"
