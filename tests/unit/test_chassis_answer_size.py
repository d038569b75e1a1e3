"""The first items of a list that fit into an answer."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.http.answer_size import fitting


@pytest.mark.parametrize(
    ("sizes", "most", "least", "count", "left"),
    [
        ([], 10, 1, 0, 10),
        ([5, 5], 10, 1, 2, 0),
        ([5, 6], 10, 1, 1, 5),
        ([11, 1], 10, 1, 1, 0),
        ([11, 0], 10, 1, 1, 0),
        ([11], 10, 0, 0, 10),
        ([4, 7, 1], 10, 0, 1, 6),
        ([9, 9, 9], 10, 2, 2, 0),
        ([0, 0], 0, 0, 2, 0),
    ],
)
def test_the_first_items_that_fit(sizes: list[int], most: int, least: int, count: int, left: int) -> None:
    assert fitting(sizes, sizes, most, least=least) == (sizes[:count], left)


@given(st.lists(st.integers(0, 50)), st.integers(0, 200), st.integers(0, 2))
def test_as_many_as_fit_and_no_more(sizes: list[int], most: int, least: int) -> None:
    kept, left = fitting(sizes, sizes, most, least=least)
    assert list(kept) == sizes[: len(kept)]
    assert len(kept) >= min(least, len(sizes))
    assert left == max(0, most - sum(kept))
    if len(kept) > least:
        assert sum(kept) <= most
    if len(kept) < len(sizes):
        assert sizes[len(kept)] + sum(kept) > most


def test_items_behind_the_first_that_does_not_fit_are_not_measured() -> None:
    def sizes() -> Iterator[int]:
        yield 1
        yield 10
        raise AssertionError("measured")

    assert fitting("abcd", sizes(), 5) == ("a", 4)
