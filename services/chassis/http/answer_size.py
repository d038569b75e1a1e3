"""The size of an answer: a list ends early, with a cursor, when its items fill it."""

from collections.abc import Sequence
from typing import Any

import orjson

MOST_BYTES = 2 * 1024 * 1024  # of JSON


def fitting(items: Sequence[Any]) -> Sequence[Any]:
    """Return the first items that make an answer of at most `MOST_BYTES` together, at least one."""
    used = 0
    for number, item in enumerate(items):
        used += len(orjson.dumps(item))
        if used > MOST_BYTES and number:
            return items[:number]
    return items
