"""How a discussion is laid out: its steps, who folds into whom, faces and times."""

from datetime import UTC, datetime
from typing import Any

import pytest

from services.chassis.ids import new_id
from services.contracts.faces import TONES, letter, tone
from services.gateway.pages.comment_form import CommentForm
from services.gateway.pages.pager import Pager, pager_of
from services.gateway.pages.quoting import MOST, quotation
from services.gateway.pages.thread import (
    first_named,
    minutes_left,
    more_replies,
    outline,
    page_numbers,
)
from services.gateway.pages.times import ago, hours_ago

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def comment(name: str | None, *replies: Any, more: str | None = None, count: int | None = None) -> dict[str, Any]:
    author = {"id": str(new_id()), "name": name, "avatar_url": None} if name is not None else None
    return {
        "id": name,
        "author": author,
        "state": "visible",
        "reply_count": len(replies) if count is None else count,
        "replies": {"items": list(replies), "next": more},
    }


def test_each_comment_is_entered_and_left_around_its_replies_and_knows_how_many_there_are() -> None:
    steps = outline([comment("a", comment("b", comment("c")), comment("d")), comment("e")])
    assert [("enter" if step.is_entered else "leave", step.comment["id"], step.below) for step in steps] == [
        ("enter", "a", 3),
        ("enter", "b", 1),
        ("enter", "c", 0),
        ("leave", "c", 0),
        ("leave", "b", 1),
        ("enter", "d", 0),
        ("leave", "d", 0),
        ("leave", "a", 3),
        ("enter", "e", 0),
        ("leave", "e", 0),
    ]


def test_what_is_answered_is_named_from_the_level_on_where_it_is_not_seen() -> None:
    steps = outline([comment("a", comment("b", comment("c", comment("d", comment("e")))))])
    entered = [step for step in steps if step.is_entered]
    assert [step.above and step.above["id"] for step in entered] == [None, None, None, "c", "d"]


def test_a_folded_branch_is_named_after_the_first_answer_that_has_a_name() -> None:
    assert first_named(comment("a", comment(None), comment("Ben"), comment("Cleo"))) == "Ben"
    assert first_named(comment("a", comment(None))) is None


@pytest.mark.parametrize(
    ("shown", "count", "more", "expected"),
    [(2, 2, None, 0), (2, 14, "next", 12), (2, 2, "next", 1), (0, 0, "next", 1)],
)
def test_replies_on_later_pages_are_counted(shown: int, count: int, more: str | None, expected: int) -> None:
    replies = [comment(str(number)) for number in range(shown)]
    assert more_replies(comment("a", *replies, more=more, count=count)) == expected


@pytest.mark.parametrize(
    ("name", "expected"), [("anna", "A"), ("  (ben)", "B"), ("נועה", "נ"), ("ßen", "S"), ("!!", "·"), (None, "·")]
)
def test_a_face_has_the_first_letter_of_the_name(name: str | None, expected: str) -> None:
    assert letter(name) == expected


def test_faces_of_people_who_came_together_differ() -> None:
    tones = [tone(str(new_id())) for _ in range(200)]
    assert set(tones) == set(range(TONES))


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("2026-11-23T12:00:05.000Z", "just now"),
        ("2026-11-23T11:59:01.000Z", "just now"),
        ("2026-11-23T11:59:00.000Z", "1 minute ago"),
        ("2026-11-23T11:00:01.000Z", "59 minutes ago"),
        ("2026-11-23T11:00:00.000Z", "1 hour ago"),
        ("2026-11-22T12:00:01.000Z", "23 hours ago"),
        ("2026-11-22T12:00:00.000Z", "yesterday"),
        ("2026-11-20T12:00:00.000Z", "3 days ago"),
        ("2026-10-24T12:00:00.000Z", "24 October 2026"),
    ],
)
def test_times_are_told_as_people_tell_them(when: str, expected: str) -> None:
    assert ago(when, NOW) == expected


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("2026-11-23T12:00:00.000Z", "within the last hour"),
        ("2026-11-23T11:00:01.000Z", "within the last hour"),
        ("2026-11-23T11:00:00.000Z", "1 hour ago"),
        ("2026-11-23T08:59:00.000Z", "3 hours ago"),
        ("2026-11-22T12:00:00.000Z", "yesterday"),
    ],
)
def test_what_is_known_to_the_hour_is_told_by_the_hour(when: str, expected: str) -> None:
    assert hours_ago(when, NOW) == expected


@pytest.mark.parametrize(
    ("page", "pages", "shown"),
    [
        (1, 1, "1"),
        (1, 2, "1 2"),
        (1, 9, "1 2 … 9"),
        (2, 3, "1 2 3"),
        (4, 9, "1 2 3 4 5 … 9"),
        (5, 9, "1 … 4 5 6 … 9"),
        (9, 9, "1 … 8 9"),
        (1, None, "1 2 …"),
        (7, None, "1 … 6 7 8 …"),
        (None, None, "1 2 …"),
    ],
)
def test_a_pager_shows_the_first_the_last_and_what_is_near(page: int | None, pages: int | None, shown: str) -> None:
    assert " ".join("…" if one is None else str(one) for one in page_numbers(page, pages)) == shown


def pager(query: str, **listed: Any) -> Pager | None:
    place = {"items": [], "next": None, "page": 1, "pages": 1, "previous": None} | listed
    return pager_of(place, CommentForm("post", place=query))


def test_what_fits_on_one_page_has_no_pager_and_neither_has_a_part() -> None:
    assert pager("") is None
    assert pager("comment=x", part=True, next="n") is None


def test_the_next_page_goes_on_behind_the_last_comment_and_the_one_before_has_its_number() -> None:
    found = pager("sort=newest&page=3", page=3, pages=9, next="n")
    assert found is not None
    assert (found.back, found.on) == ("?sort=newest&page=2#comments", "?sort=newest&comments=n#comments")
    assert found.numbers[0] == (1, "?sort=newest#comments")
    second = pager("page=2", page=2, pages=2)
    assert second is not None
    assert (second.back, second.on) == ("?#comments", None)


def test_where_pages_have_no_numbers_there_is_a_way_back() -> None:
    found = pager("comments=x", page=None, pages=None, previous="p", next="n")
    assert found is not None
    assert (found.back, found.on) == ("?comments=p#comments", "?comments=n#comments")


@pytest.mark.parametrize(
    ("when", "left"),
    [
        ("2026-11-23T12:00:00.000Z", 15),
        ("2026-11-23T11:57:30.000Z", 13),
        ("2026-11-23T11:45:00.000Z", 0),
        ("2026-11-22T12:00:00.000Z", 0),
    ],
)
def test_the_minutes_are_counted_for_which_a_comment_can_be_edited(when: str, left: int) -> None:
    assert minutes_left(when, 900, NOW) == left
    assert minutes_left(when, None, NOW) == 0


def test_a_quotation_has_the_words_of_a_comment_and_not_what_it_quoted() -> None:
    html = "<blockquote><p>Before.</p></blockquote><p>One.<br>Two.</p><ul><li>three</li></ul>"
    assert quotation(html) == "> One.\n> Two.\n>\n> - three\n\n"
    assert quotation("<blockquote><p>Before.</p></blockquote>") == "> > Before.\n\n"
    long = quotation(f"<p>{'word ' * 2_000}</p>")
    assert len(long) < MOST + 10
    assert long.endswith("word …\n\n")
