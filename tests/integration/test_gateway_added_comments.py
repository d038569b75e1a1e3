"""Lists that are kept get the comments that their gateway posts, where that is what the owner would answer."""

import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx2
import orjson
import pytest

from services.chassis.errors import Problem
from services.comments import queries
from services.contracts.comments import CommentPosted, CommentRejected
from services.contracts.people import PersonRenamed
from services.gateway.caching.added_comments import DEEPEST, MOST_ADDED, with_added
from services.gateway.caching.entry import Entry
from services.gateway.caching.etags import entity_tag
from services.gateway.composition import representations
from tests.integration.comments_harness import ANN, NOBODY, Harness, person
from tests.integration.gateway_harness import ANNA, COMMENT, COMMENT_ID, ID, GatewayHarness, NewHarness
from tests.integration.test_comments_tree import PEOPLE, act
from tests.unit.gateway_fakes import Call, raw_comment, raw_post

LIST = f"/v1/posts/{ID}/comments"
NAMES = {
    str(person(who)): {"id": str(person(who)), "name": f"Person {number}", "avatar_url": None}
    for number, who in enumerate(PEOPLE)
}
KEY = b"/v1/posts/x/comments?"
NOW = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture
async def owner(new_database: Callable[..., Awaitable[Any]]) -> Harness:
    made = Harness(await new_database("services.chassis", "services.comments"))
    await made.publish_post()
    return made


async def answered_by(owner: Harness, limit: int) -> bytes:
    """Return what a gateway answers strangers that ask for this page now."""
    raw = await queries.comments(owner.db, NOBODY, owner.post_id, "oldest", None, limit)
    return orjson.dumps(representations.comment_list(raw, NAMES))


def kept(body: bytes, *added: dict[str, Any]) -> Entry:
    tag = entity_tag(0, body)
    headers = [(b"etag", tag.encode()), (b"content-length", b"%d" % len(body))]
    return Entry(headers, headers, body, tag, frozenset(), 0.0, added=added)


def public(raw: dict[str, Any]) -> dict[str, Any]:
    shown = representations.comment(raw, NAMES)
    return {name: value for name, value in shown.items() if name not in ("body", "format")}


async def is_added(owner: Harness, limit: int, *, parent: str | None = None, who: Any = ANN) -> bool:
    """Post a comment; check that a kept list is with it what the owner answers, and return whether it took it."""
    before = await answered_by(owner, limit)
    comment = public(await owner.post_comment(who, parent))
    key = b"/v1/posts/%s/comments?limit=%d" % (str(owner.post_id).encode(), limit)
    entry = with_added(key, kept(before, comment))
    if entry is None:
        return False
    after = await answered_by(owner, limit)
    assert entry.body == after
    assert entry.etag == entity_tag(0, after)
    assert dict(entry.headers) == {b"etag": entry.etag.encode(), b"content-length": b"%d" % len(after)}
    return True


@pytest.mark.parametrize("seed", range(6))
async def test_a_list_with_a_comment_in_it_is_what_the_owner_answers(owner: Harness, seed: int) -> None:
    rng, taken = random.Random(seed), 0
    ids: list[str] = []
    for _ in range(60):
        await act(owner, rng, ids)
        parent = rng.choice([None, *ids[-8:]])
        try:
            taken += await is_added(owner, rng.choice((2, 5, 20, 50, 100)), parent=parent, who=rng.choice(PEOPLE))
        except Problem as problem:
            assert problem.kind == "invalid"  # what it would answer is hidden from them
    assert taken >= 10


async def test_the_owner_is_asked_for_pages_without_room(owner: Harness) -> None:
    tops = [(await owner.post_comment())["id"] for _ in range(3)]
    assert not await is_added(owner, 3)  # now the list goes on behind a fourth one
    assert await is_added(owner, 3)  # which this one stands behind, too
    assert await is_added(owner, 50, parent=tops[0])
    for _ in range(95):
        await owner.post_comment(parent=tops[0])
    assert not await is_added(owner, 50, parent=tops[0])
    assert not await is_added(owner, 50)
    assert not await is_added(owner, 50, parent=tops[2])


async def test_the_owner_is_asked_for_long_pages(owner: Harness) -> None:
    """So long that texts might be left out."""
    for number in range(18):
        if number in (0, 12):
            assert await is_added(owner, 50)
        await owner.post_comment(body=f"{number} " + "x" * 9_900)
    assert not await is_added(owner, 50)


async def test_the_owner_is_asked_for_what_stands_deep(owner: Harness) -> None:
    parent = (await owner.post_comment())["id"]
    for _ in range(DEEPEST - 1):
        parent = (await owner.post_comment(parent=parent))["id"]
    assert await is_added(owner, 50, parent=parent)
    deepest = (await owner.post_comment(parent=parent))["id"]
    assert not await is_added(owner, 50, parent=deepest)


async def test_the_owner_is_asked_where_what_is_not_shown_takes_room(owner: Harness) -> None:
    """A comment that stands too deep to be inlined takes room from those behind it."""
    tops = [(await owner.post_comment())["id"] for _ in range(19)]
    for top in tops[:3]:
        parent = (await owner.post_comment(parent=top))["id"]
    for _ in range(25):
        parent = (await owner.post_comment(parent=parent))["id"]
    await owner.post_comment(parent=tops[2])  # the last for which there is room
    assert not await is_added(owner, 50)


async def test_the_owner_is_asked_where_comments_came_in_another_order(owner: Harness) -> None:
    body, first, second = await answered_by(owner, 50), await owner.post_comment(), await owner.post_comment()
    assert with_added(KEY, kept(body, public(first), public(second))) is not None
    assert with_added(KEY, kept(body, public(second), public(first))) is None


async def test_a_comment_that_was_read_already_is_not_added_again(owner: Harness) -> None:
    raw = await owner.post_comment()
    body = await answered_by(owner, 50)
    entry = with_added(KEY, kept(body, public(raw)))
    assert entry is not None
    assert entry.body == body


class Gateway:
    """A gateway whose list is kept, and whose comments are posted together with others."""

    def __init__(self, harness: GatewayHarness) -> None:
        self.harness = harness
        self.posted = 0
        harness.gateway.cache.set_following(True)
        harness.services.comments.on("POST", "/comments/batch", self._store)

    async def _store(self, call: Call) -> dict[str, Any]:
        await self.meanwhile()
        self.posted += 1
        mine = raw_comment(10 + self.posted, author_id=ANNA, body="typed", format="markdown", post_author_id=ANNA)
        return {"items": [mine | self.fields]}

    fields: dict[str, Any] = {}  # noqa: RUF012  # replaced, never changed

    async def meanwhile(self) -> None:
        """Happen while a comment is stored."""

    async def read(self, who: dict[str, str] | None = None) -> httpx2.Response:
        return await self.harness.get(LIST, **(who or {}))

    async def post(self) -> None:
        assert (await self.harness.comment()).status_code == 201

    @property
    def asked(self) -> int:
        """How often the owner was asked for the list."""
        return self.harness.services.comments.count("GET", f"/posts/{ID}/comments")

    async def ids(self) -> list[str]:
        return [item["id"] for item in (await self.read()).json()["items"]]


@pytest.fixture
async def gateway(new_harness: NewHarness) -> Gateway:
    return Gateway(await new_harness())


def new(number: int) -> str:
    return str(raw_comment(10 + number)["id"])


async def test_a_reader_finds_what_was_just_posted_and_nobody_is_asked(gateway: Gateway) -> None:
    first = await gateway.read()
    for number in (1, 2):
        await gateway.post()
        answer = await gateway.read()
        assert [item["id"] for item in answer.json()["items"]] == [COMMENT_ID, *map(new, range(1, number + 1))]
        assert answer.headers["ETag"] != first.headers["ETag"]
        assert answer.headers["Content-Length"] == str(len(answer.content))
        assert not {"body", "format"} & answer.json()["items"][-1].keys()
    assert answer.json()["items"][-1]["author"]["name"] == "Name a"
    unchanged = await gateway.harness.get(LIST, **{"If-None-Match": answer.headers["ETag"]})
    assert unchanged.status_code == 304
    assert gateway.asked == 1


async def test_its_author_sees_it_there_as_they_typed_it(gateway: Gateway) -> None:
    text = {"id": new(1), "body": "typed", "format": "markdown"}
    await gateway.harness.get("/v1/me", **gateway.harness.anna)
    await gateway.read()
    await gateway.post()
    gateway.harness.services.comments.on("GET", f"/posts/{ID}/own", {"texts": [text]})
    answer = await gateway.read(gateway.harness.anna)
    assert answer.json()["items"][-1]["body"] == "typed"
    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert gateway.asked == 1


async def test_the_event_of_what_was_posted_here_evicts_nothing_more(gateway: Gateway) -> None:
    await gateway.read()
    await gateway.post()
    gateway.harness.gateway.invalidation.by_event(event(CommentPosted))
    await gateway.read()
    assert gateway.asked == 1
    gateway.harness.gateway.invalidation.by_event(event(CommentPosted))  # told again, or posted elsewhere
    await gateway.read()
    assert gateway.asked == 2


async def test_what_happens_to_it_later_evicts(gateway: Gateway) -> None:
    await gateway.read()
    await gateway.post()
    gateway.harness.gateway.invalidation.by_event(event(CommentRejected))
    assert await gateway.ids() == [COMMENT_ID]
    assert gateway.asked == 2


async def test_what_happens_to_it_before_its_answer_is_here_is_not_overwritten(gateway: Gateway) -> None:
    await gateway.read()

    async def reject_and_read() -> None:
        gateway.harness.gateway.invalidation.by_event(event(CommentRejected))
        await gateway.read()

    gateway.meanwhile = reject_and_read  # type: ignore[method-assign]
    await gateway.post()
    assert await gateway.ids() == [COMMENT_ID]
    assert gateway.asked == 3


async def test_a_list_whose_reading_ends_after_the_write_is_not_overwritten(gateway: Gateway) -> None:
    """What an author's name is asked for meanwhile is kept as it was read."""
    await gateway.read()
    harness = gateway.harness
    harness.gateway.authors.forget(ANNA)

    async def look_up(call: Call) -> dict[str, Any]:
        harness.services.people.on("POST", "/people/lookup", {"items": [named]})
        harness.services.comments.on("GET", f"/posts/{ID}/comments", {"items": [COMMENT, mine], "next": None})
        await gateway.read()
        return {"items": [named]}

    named, mine = {"id": ANNA, "name": "Anna", "avatar_url": None}, raw_comment(11, author_id=ANNA, edited_at="x")
    harness.services.people.on("POST", "/people/lookup", look_up)
    await gateway.post()
    assert (await gateway.read()).json()["items"][-1]["edited_at"] == "x"
    assert gateway.asked == 2


@pytest.mark.parametrize("change", [CommentPosted, PersonRenamed], ids=["posted elsewhere", "renamed"])
async def test_what_changes_while_its_author_is_looked_up_evicts(gateway: Gateway, change: type) -> None:
    await gateway.read()
    harness = gateway.harness
    harness.gateway.authors.forget(ANNA)

    async def look_up(call: Call) -> dict[str, Any]:
        about = PersonRenamed(person_id=UUID(ANNA), roles=(), version=2, occurred_at=NOW)
        harness.gateway.invalidation.by_event(about if change is PersonRenamed else event(CommentPosted, number=5))
        return {"items": [{"id": ANNA, "name": "Before", "avatar_url": None}]}

    harness.services.people.on("POST", "/people/lookup", look_up)
    await gateway.post()
    await gateway.read()
    assert gateway.asked == 2


async def test_what_waits_for_a_moderator_is_not_added(gateway: Gateway) -> None:
    await gateway.read()
    gateway.fields = {"state": "held"}
    await gateway.post()
    assert await gateway.ids() == [COMMENT_ID]
    assert gateway.asked == 2


async def test_what_has_no_name_is_not_added(gateway: Gateway) -> None:
    await gateway.read()
    gateway.harness.gateway.authors.forget(ANNA)
    gateway.harness.services.people.away = True
    await gateway.post()
    gateway.harness.services.people.away = False
    await gateway.read()
    assert gateway.asked == 2


async def test_what_nobody_reads_is_not_kept_for_ever(gateway: Gateway) -> None:
    await gateway.read()
    for _ in range(MOST_ADDED + 1):
        await gateway.post()
    await gateway.read()
    assert gateway.asked == 2


async def test_other_answers_are_asked_for_anew(gateway: Gateway) -> None:
    moderator = gateway.harness.token("moderator")
    gateway.harness.services.posts.on("GET", f"/posts/{ID}", raw_post())
    await gateway.harness.get("/v1/me", **moderator)
    for _ in range(2):
        for query in ("?sort=newest", "?cursor=x"):
            await gateway.harness.get(LIST + query)
        await gateway.read(moderator)
        await gateway.post()
    assert gateway.asked == 6


def event(kind: Any, number: int = 11) -> Any:
    """Return an event about the first comment that is posted, or another one."""
    comment = raw_comment(number)
    return kind(
        comment_id=UUID(comment["id"]),
        post_id=UUID(ID),
        post_author_id=UUID(ANNA),
        parent_id=None,
        parent_author_id=None,
        depth=0,
        author_id=UUID(ANNA),
        state="visible" if kind is CommentPosted else "removed",
        version=1 if kind is CommentPosted else 2,
        created_at=NOW,
        occurred_at=NOW,
    )
