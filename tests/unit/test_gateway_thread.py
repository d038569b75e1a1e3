"""How a discussion is laid out: its steps, who folds into whom, faces and times."""

from datetime import UTC, datetime
from typing import Any

import pytest

from services.chassis.ids import new_id
from services.gateway.pages.thread import TONES, first_named, letter, more_replies, outline, tone
from services.gateway.pages.times import ago

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
    assert [(step.kind, step.comment["id"], step.below) for step in steps] == [
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
    entered = [step for step in steps if step.kind == "enter"]
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
