"""A list made from the service's bytes is the one that is made field by field."""

from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.identity import Caller
from services.comments.domain.comment import Comment, State, new_comment
from services.comments.domain.tree import NO_HIDDEN, nest
from services.comments.queries import _by_author
from services.gateway.composition import representations, splicing
from tests.unit.gateway_fakes import raw_comment

POST, PEOPLE = UUID(int=7), [UUID(int=number) for number in (1, 2, 3)]
READERS = [Caller("gateway"), Caller("gateway", PEOPLE[0]), Caller("gateway", PEOPLE[1], frozenset({"moderator"}))]
TRICKS = (
    *('"version":1,"author_id":null,', f'"version":1,"author_id":"{PEOPLE[0]}",', f',"post_author_id":"{PEOPLE[1]}"'),
    *('{"items":[]', ',"next":null}', "\\", '"', '\\"', "\n", "é", "☃", "\u2028", "x"),
)
texts = st.lists(st.sampled_from(TRICKS), max_size=5).map("".join)


class Written(NamedTuple):
    author: int
    text: str
    is_reply: bool
    state: State
    is_edited: bool


written = st.builds(
    Written, st.integers(0, 2), texts, st.booleans(), st.sampled_from(["visible", "held", "removed"]), st.booleans()
)


def listed(found: list[Written], reader: Caller, following: str | None, *, names_author: bool) -> bytes:
    """Return a list as the comments service sends it."""
    tops, below = list[Comment](), list[Comment]()
    for number, one in enumerate(found):
        parent = (tops + below)[-1] if one.is_reply and tops else None
        comment = new_comment(
            parent,
            id=UUID(int=100 + number),
            post_id=POST,
            author_id=PEOPLE[one.author],
            body=one.text,
            format="markdown",
            body_html=f"<p>{one.text}</p>",
            state=one.state,
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
            answered_revision=number,
        )._replace(edited_at=datetime(2026, 1, 2, tzinfo=UTC) if one.is_edited else None, shown_replies=number % 2)
        (below if parent else tops).append(comment)
    items = nest(tops, below, reader, NO_HIDDEN)
    return orjson.dumps({"items": _by_author(items, PEOPLE[1]) if names_author else items, "next": following})


@given(
    st.lists(written, max_size=6),
    st.sampled_from(READERS),
    st.none() | texts,
    st.dictionaries(st.sampled_from(PEOPLE), texts),
    st.booleans(),
)
def test_a_list_from_bytes_is_the_list_from_its_fields(
    found: list[Written], reader: Caller, following: str | None, names: dict[UUID, str], names_author: bool
) -> None:
    """Whatever people call themselves and write, whoever reads, and though some names are not known."""
    people: dict[str, Any] = {
        str(one): {"id": str(one), "name": name, "avatar_url": None} for one, name in names.items()
    }
    body = listed(found, reader, following, names_author=names_author)
    raw = orjson.loads(body)
    split = splicing.split(body)
    assert split is not None
    assert split.authors == representations.comment_authors(raw["items"])
    assert split.next == following
    assert split.with_authors(people) == orjson.dumps(representations.comment_list(raw, people))


def test_a_list_of_an_older_version_is_left_to_its_fields() -> None:
    """In which other services' order is not what is read."""
    older = dict(sorted(raw_comment().items()))
    assert splicing.split(orjson.dumps({"items": [older], "next": None})) is None
