"""The size of an answer: a list ends early, with a cursor, when its items fill it."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

MOST_BYTES = 2 * 1024 * 1024  # of JSON

T = TypeVar("T")


def fitting(
    items: Sequence[T], sizes: Iterable[int], most: int = MOST_BYTES, *, least: int = 1
) -> tuple[Sequence[T], int]:
    """Return the first items that have at most `most` bytes together, and how many bytes they leave.

    Args:
        sizes: of the items, in bytes; not asked for behind the first that does not fit.
        least: how many are returned whatever their size.
    """
    left = most
    for number, size in enumerate(sizes):
        if size > left and number >= least:
            return items[:number], max(0, left)
        left -= size
    return items, max(0, left)
