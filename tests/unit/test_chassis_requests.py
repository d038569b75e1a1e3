"""The strict JSON parser compared with the standard library's, on values from Hypothesis."""

import json
import math
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from services.chassis.errors import Problem
from services.chassis.http.requests import MAX_DEPTH, MAX_MEMBERS, parse_json

TEXT = some.text(some.characters(), max_size=20)  # lone surrogates and NUL too
VALUES = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


def depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [*value, *(text for inner in value.values() for text in strings(inner))]
    if isinstance(value, list):
        return [text for inner in value for text in strings(inner)]
    return [value] if isinstance(value, str) else []


def unsound(text: str) -> bool:
    return "\0" in text or any("\ud800" <= character <= "\udfff" for character in text)


def close(one: Any, other: Any) -> bool:
    """Return whether two values are equal, except that integers beyond 64 bits may be floats."""
    if isinstance(one, dict):
        return (
            isinstance(other, dict) and one.keys() == other.keys() and all(close(one[key], other[key]) for key in one)
        )
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(close, one, other))
    return bool(one == other) or (isinstance(one, int | float) and math.isclose(one, other, rel_tol=1e-12))


@given(VALUES, some.booleans(), some.sampled_from([None, 1]))
@example(["[" * 100, "}{" * 50, '\\"[' * 20], True, None)
@example({"a": "\ud800", "b": 2**70}, True, None)
def test_json_is_parsed_as_by_the_standard_library(value: Any, ascii_only: bool, indent: int | None) -> None:
    if not ascii_only and any(map(unsound, strings(value))):
        ascii_only = True  # UTF-8 cannot encode a lone surrogate
    data = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    if any(map(unsound, strings(value))):
        with pytest.raises(Problem, match="invalid"):
            parse_json(data)
    else:
        assert depth(value) <= MAX_DEPTH
        assert close(parse_json(data), value)


@given(some.binary(max_size=200))
@example(b"")
@example(b'"\\')
@example(b'{"a":"\\ud800')
@example(b"-")
@example(b"1" * 5000)
@example(b"-" + b"1" * 5000)
@example(b"1" * 5000 + b".5")
@example(b"0." + b"1" * 5000)
@example(b'"\\ud83d\\ude00"')
def test_arbitrary_bytes_are_json_or_a_problem(data: bytes) -> None:
    try:
        value = parse_json(data)
    except Problem as problem:
        assert problem.kind in ("malformed-json", "invalid")
        return
    assert close(value, json.loads(data.decode(), parse_int=lambda text: int(text[:400])))


@given(some.integers(1, 80), some.sampled_from([b"[]", b"{}"]))
def test_depth_is_counted_exactly(levels: int, brackets: bytes) -> None:
    opening = brackets[:1] if brackets == b"[]" else b'{"a":'
    data = opening * levels + (b"" if brackets == b"[]" else b"0") + brackets[1:] * levels
    if levels > MAX_DEPTH:
        with pytest.raises(Problem, match="malformed-json"):
            parse_json(data)
    else:
        assert depth(parse_json(data)) == levels


@pytest.mark.parametrize("pattern", [b"[", b'{"a":', b'"\\"', b"\\", b'["', b"]", b'"' * 2 + b"["])
def test_parsing_takes_linear_time(pattern: bytes) -> None:
    """A quadratic step would take hours for four megabytes and exceed the time limit of the test."""
    with pytest.raises(Problem):
        parse_json(pattern * (4_000_000 // len(pattern)))


def test_a_body_has_at_most_so_many_members() -> None:
    """Each unknown one costs an error: 28,000 fit into a body, and refusing them took 190 ms of the event loop."""
    assert len(parse_json(json.dumps({f"{n}": 1 for n in range(MAX_MEMBERS)}).encode())) == MAX_MEMBERS
    for more in ("1", "1" * 400):  # for either parser
        with pytest.raises(Problem, match="at most 100 members") as refused:
            parse_json(json.dumps({f"{n}": int(more) for n in range(MAX_MEMBERS + 1)}).encode())
        assert (refused.value.kind, refused.value.errors[0].field) == ("invalid", "")


def test_the_first_errors_are_named_and_no_more_looked_for() -> None:
    value = [{"a": "fine", "b": ["\ud800", "\0"]}, {"\ud800": 1}, *["\ud800"] * 10_000]
    with pytest.raises(Problem) as refused:
        parse_json(json.dumps(value).encode())
    errors = refused.value.errors
    assert [error.field for error in errors[:4]] == ["0.b.0", "0.b.1", "1", "2"]
    assert len(errors) == 50


@pytest.mark.parametrize("body", [b'{"name":"x', b'{"name":', b"{name", b'["a" "b"]'])
def test_the_place_of_an_error_is_said_once(body: bytes) -> None:
    with pytest.raises(Problem) as refused:
        parse_json(body)
    assert len(re.findall(r"\bat\b", refused.value.detail)) == 1, refused.value.detail
