"""Opaque cursors for keyset lists: where a page ended, bound to the list it ended in.

A cursor is not a secret and not signed: a made-up one gives another place of the same list, or a 400.
"""

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from services.chassis.errors import Problem

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
LONGEST = 1024
INTEGERS = range(-(1 << 31), 1 << 31)  # what every integer column takes
MICROSECONDS = range(-(1 << 56), 1 << 58)


def encode(list_name: str, *values: datetime | UUID | int | str) -> str:
    """Return a cursor behind `values`, the sort key of the last item shown.

    Args:
        list_name: everything that makes the list another one: what it lists, of whom, in which order.
        values: integers have 32 bits.
    """
    data = orjson.dumps([_mark(list_name), *(_plain(value) for value in values)])
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str | None, list_name: str, *types: type) -> tuple[Any, ...] | None:
    """Return the values that `encode` was given, as these types; None without a cursor.

    `decode(cursor, f"orders/{customer_id}/oldest", datetime, UUID)` gives `(created_at, id)`.

    Raises:
        Problem: `malformed-cursor` when it is none, or one of another list.
    """
    if text is None:
        return None
    try:
        if len(text) > LONGEST:
            raise ValueError("too long")
        data = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        mark, *values = orjson.loads(data)
        if mark != _mark(list_name) or len(values) != len(types):
            raise ValueError("of another list")
        return tuple(_typed(value, kind) for value, kind in zip(values, types, strict=True))
    except (ValueError, TypeError, OverflowError):
        raise Problem("malformed-cursor") from None


def _mark(list_name: str) -> str:
    return hashlib.blake2b(list_name.encode(), digest_size=6).hexdigest()


def _plain(value: datetime | UUID | int | str) -> int | str:
    if isinstance(value, datetime):
        return (value - EPOCH) // MICROSECOND
    return value.hex if isinstance(value, UUID) else value


def _typed(value: Any, kind: type) -> Any:
    if kind is str:
        if type(value) is not str or "\0" in value:
            raise ValueError("not a string")
        return value
    if kind is UUID:
        return UUID(hex=value) if type(value) is str and len(value) == 32 else _refuse()
    if type(value) is not int or value not in (MICROSECONDS if kind is datetime else INTEGERS):
        raise ValueError("not a number in range")
    return EPOCH + value * MICROSECOND if kind is datetime else value


def _refuse() -> None:
    raise ValueError("not a UUID")
