"""Cursors decode to the encoded values, and only for their own list."""

import base64
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as some

from services.chassis.errors import Problem
from services.chassis.http import cursors

ID = UUID("0193b3a0-0000-7000-8000-000000000001")
WHEN = datetime(2026, 11, 23, 4, 35, 0, 123456, tzinfo=UTC)


@given(
    some.datetimes(timezones=some.just(UTC)),
    some.uuids(),
    some.integers(-(2**31), 2**31 - 1),
    some.text(some.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=100),
)
def test_values_keep_their_types(moment: datetime, uuid: UUID, number: int, text: str) -> None:
    cursor = cursors.encode("list", moment, uuid, number, text)
    assert cursors.decode(cursor, "list", datetime, UUID, int, str) == (moment, uuid, number, text)


def test_time_zone_does_not_matter() -> None:
    local = WHEN.astimezone(tz=None) + timedelta(0)
    assert cursors.encode("list", local) == cursors.encode("list", WHEN)


@pytest.mark.parametrize("cursor", [None, ""])
def test_no_cursor_and_an_empty_one_are_the_beginning(cursor: str | None) -> None:
    assert cursors.decode(cursor, "list", UUID) is None


@pytest.mark.parametrize("types", [(UUID,), (datetime, UUID, int), (UUID, datetime), (datetime, str), (str, UUID)])
def test_cursor_of_other_types_is_malformed(types: tuple[type, ...]) -> None:
    cursor = cursors.encode("list", WHEN, ID)
    try:
        values = cursors.decode(cursor, "list", *types)
    except Problem as problem:
        assert problem.kind == "malformed-cursor"
        return
    assert values is not None
    assert [type(value) for value in values] == list(types), "a UUID is a string too, but never the other way round"


def test_cursor_of_another_list_is_malformed() -> None:
    cursor = cursors.encode("comments/oldest", WHEN, ID)
    with pytest.raises(Problem, match="malformed-cursor"):
        cursors.decode(cursor, "comments/newest", datetime, UUID)


def forged(*values: object) -> str:
    data = orjson.loads(base64.urlsafe_b64decode(cursors.encode("list") + "=="))
    return base64.urlsafe_b64encode(json.dumps([*data, *values]).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        1.5,
        [],
        {},
        "x",
        "0" * 33,
        "g" * 32,
        2**70,
        2**31,
        -(2**31) - 1,
        -(2**63) - 1,
        "\0",
        10**17 * 9,
        -(10**17) * 9,
    ],
)
@pytest.mark.parametrize("kind", [datetime, UUID, int])
def test_forged_values_are_malformed_or_have_the_type(value: object, kind: type) -> None:
    try:
        decoded = cursors.decode(forged(value), "list", kind)
    except Problem as problem:
        assert problem.kind == "malformed-cursor"
    else:
        assert decoded is not None
        assert type(decoded[0]) is kind


def test_nul_in_a_cursor_is_malformed() -> None:
    with pytest.raises(Problem, match="malformed-cursor"):
        cursors.decode(forged("a\0b"), "list", str)


@given(
    some.one_of(
        some.text(min_size=1, max_size=80),
        some.binary(min_size=1, max_size=60).map(lambda raw: base64.b64encode(raw).decode()),
    )
)
def test_arbitrary_text_is_malformed(text: str) -> None:
    with pytest.raises(Problem, match="malformed-cursor"):
        cursors.decode(text, "list", datetime, UUID)


def test_overlong_cursor_is_malformed() -> None:
    with pytest.raises(Problem, match="malformed-cursor"):
        cursors.decode("A" * 100_000, "list", UUID)
