"""What signed-in readers are shown of what is kept: the owner's own bytes, with their texts in them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.errors import unavailable
from services.chassis.identity import Caller
from services.gateway.access.authentication import Viewer
from services.gateway.caching.entry import Entry, with_values
from services.gateway.caching.etags import entity_tag
from services.gateway.caching.readers import Readers, with_own_texts
from services.gateway.composition import representations
from services.gateway.composition.own_comments import OwnComments, OwnText
from tests.unit.gateway_fakes import FakeServices, raw_comment

ANNA, BEN = "01936f6e-0000-7000-8000-00000000000a", "01936f6e-0000-7000-8000-00000000000b"
POST = raw_comment()["post_id"]
VIEWER = Viewer(Caller("gateway", UUID(ANNA), frozenset({"reader"})), private=True)


def encoded(items: list[dict[str, Any]], names: dict[str, str]) -> bytes:
    """Return a list as the gateway composes it."""
    people = {one: {"id": one, "name": names.get(one, "x"), "avatar_url": None} for one in (ANNA, BEN)}
    return orjson.dumps(representations.comment_list({"items": items, "next": None}, people))


def kept(body: bytes, below: frozenset[str] | None = frozenset({POST}), tag: str = "") -> Entry:
    tag = tag or entity_tag(0, body)
    headers = [(b"etag", tag.encode()), (b"content-length", b"%d" % len(body)), (b"cache-control", b"public, no-cache")]
    values = {b"cache-control": b"private, no-cache"}
    headers_of_304 = [headers[0], headers[2]]
    theirs = Entry(
        with_values(headers, values), with_values(headers_of_304, values), body, tag, frozenset(), 0.0, own_below=below
    )
    return replace(theirs, headers=headers, unchanged=headers_of_304, private=theirs)


TRICKS = (
    '{"id":"', '","post_id":', ',"body_html":', ',"author":null', "\\", '"', '\\"', "\n", "é", "☃", "x", ANNA,
    raw_comment(1)["id"], raw_comment(2)["id"],
)  # fmt: skip
texts = st.lists(st.sampled_from(TRICKS), max_size=8).map("".join)


@given(st.lists(st.tuples(st.booleans(), texts, texts), min_size=1, max_size=5), texts, st.booleans())
def test_a_kept_list_with_own_texts_is_what_its_owner_answers(
    written: list[tuple[bool, str, str]], name: str, nested: bool
) -> None:
    """Whatever people call themselves and write."""

    def items(*, for_anna: bool) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for number, (is_annas, body, html) in enumerate(written):
            extra: dict[str, Any] = {"body": body, "format": "markdown"} if is_annas and for_anna else {}
            one = raw_comment(number, author_id=ANNA if is_annas else BEN, body_html=html, **extra)
            if nested and found:
                found[-1]["replies"]["items"].append(one)
            else:
                found.append(one)
        return found

    own = [
        OwnText(raw_comment(number)["id"], body, "markdown")
        for number, (is_annas, body, _) in enumerate(written)
        if is_annas
    ]
    names = {ANNA: name, BEN: name[::-1]}
    expected = encoded(items(for_anna=True), names)
    entry = kept(encoded(items(for_anna=False), names))
    for _ in range(2):  # the second time it is known where they belong
        shown = with_own_texts(entry, [*own, OwnText(ANNA, "x", "html")])
        assert shown is not None
        assert shown.body == expected
        assert shown.etag == dict(shown.headers)[b"etag"].decode() == dict(shown.unchanged)[b"etag"].decode()
        assert shown.etag == entity_tag(0, expected)
        assert dict(shown.headers)[b"content-length"] == b"%d" % len(expected)


def test_the_tag_of_one_comment_keeps_its_version_and_epoch() -> None:
    body = orjson.dumps(representations.comment(raw_comment(1, author_id=ANNA), {}))
    entry = kept(body, tag=entity_tag(7, body, 2))
    shown = with_own_texts(entry, [OwnText(raw_comment(1)["id"], "hello", "markdown")])
    assert shown is not None
    assert shown.etag == entity_tag(7, shown.body, 2)
    assert orjson.loads(shown.body)["body"] == "hello"


def test_a_tombstone_where_the_reader_has_a_visible_comment_is_older_or_newer() -> None:
    entry = kept(encoded([raw_comment(1, author_id=None, body_html=None, state="removed")], {}))
    assert with_own_texts(entry, [OwnText(raw_comment(1)["id"], "hello", "markdown")]) is None


def test_an_answer_that_might_end_earlier_with_the_texts_is_the_owners() -> None:
    entry = kept(encoded([raw_comment(1, author_id=ANNA, body_html="x" * 2**20)], {}))
    assert with_own_texts(entry, [OwnText(raw_comment(1)["id"], "hello", "markdown")]) is None


class Writers:
    """Those who wrote lately."""

    lately = False

    async def wrote_lately(self, person_id: UUID) -> bool:
        return self.lately


class Tokens:
    """Whose token is known."""

    viewer: Viewer | None = VIEWER

    def recall_reader(self, header: str) -> Viewer | None:
        return self.viewer


class Harness:
    def __init__(self) -> None:
        self.services, self.writers, self.tokens, self.now = FakeServices(), Writers(), Tokens(), 100.0
        self.own = OwnComments(clock=lambda: self.now)
        self.readers = Readers(self.tokens, self.writers, self.own, self.services.upstreams, 2.0)  # type: ignore[arg-type]
        self.has([])

    def has(self, texts: list[dict[str, str]] | None) -> None:
        self.services.comments.on("GET", f"/posts/{POST}/own", {"texts": texts})

    @property
    def asked(self) -> int:
        return self.services.comments.count("GET", f"/posts/{POST}/own")


@pytest.fixture
def harness() -> Harness:
    return Harness()


async def test_a_reader_is_recalled_unless_they_are_unknown_or_wrote_lately(harness: Harness) -> None:
    assert await harness.readers.recall(b"Bearer x") is VIEWER
    harness.writers.lately = True
    assert await harness.readers.recall(b"Bearer x") is None
    harness.writers.lately = False
    harness.tokens.viewer = None
    assert await harness.readers.recall(b"Bearer x") is None


async def test_who_has_nothing_there_is_shown_the_kept_bytes_as_private(harness: Harness) -> None:
    entry = kept(encoded([raw_comment()], {}))
    shown = await harness.readers.view(VIEWER, entry)
    assert shown is not None
    assert shown.body is entry.body
    assert shown.etag == entry.etag
    assert dict(shown.headers)[b"cache-control"] == dict(shown.unchanged)[b"cache-control"] == b"private, no-cache"
    assert dict(entry.headers)[b"cache-control"] == b"public, no-cache"
    caller = harness.services.comments.last("GET", f"/posts/{POST}/own").caller
    assert caller == VIEWER.caller


async def test_what_a_reader_has_is_asked_for_once_in_half_a_minute(harness: Harness) -> None:
    entry = kept(encoded([raw_comment(1, author_id=ANNA)], {}))
    for _ in range(3):
        harness.now += 9
        assert await harness.readers.view(VIEWER, entry) is not None
    assert harness.asked == 1
    harness.has([{"id": raw_comment(1)["id"], "body": "hello", "format": "markdown"}])
    harness.now += 30
    shown = await harness.readers.view(VIEWER, entry)
    assert shown is not None
    assert b'"body":"hello"' in shown.body
    assert harness.asked == 2


FORGETTING: list[Callable[[OwnComments], None]] = [
    lambda own: own.forget(ANNA, POST),
    lambda own: own.forget_all(),
]


@pytest.mark.parametrize("forget", FORGETTING)
async def test_what_changed_is_asked_for_again_even_if_an_answer_is_on_its_way(
    harness: Harness, forget: Callable[[OwnComments], None]
) -> None:
    entry = kept(encoded([raw_comment(1)], {}))
    await harness.readers.view(VIEWER, entry)
    forget(harness.own)
    harness.has(None)
    assert await harness.readers.view(VIEWER, entry) is None

    def changes_meanwhile(_: object) -> dict[str, Any]:
        forget(harness.own)
        return {"texts": []}

    forget(harness.own)
    harness.services.comments.on("GET", f"/posts/{POST}/own", changes_meanwhile)
    assert await harness.readers.view(VIEWER, entry) is not None
    harness.has(None)
    assert await harness.readers.view(VIEWER, entry) is None


async def test_the_owner_is_asked_where_more_differs_or_is_not_known(harness: Harness) -> None:
    entry = kept(encoded([raw_comment(1)], {}))
    harness.has(None)
    assert await harness.readers.view(VIEWER, entry) is None
    harness.own.forget_all()
    harness.services.comments.on("GET", f"/posts/{POST}/own", unavailable("away"))
    assert await harness.readers.view(VIEWER, entry) is None
    assert await harness.readers.view(VIEWER, replace(entry, own_below=None)) is None
    assert await harness.readers.view(VIEWER, replace(entry, own_below=frozenset())) is not None
