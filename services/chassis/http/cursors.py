"""Pages of lists: their size, and opaque cursors for keyset pagination (where a page ended), bound to their list.

A cursor is neither secret nor signed: a forged one gives another position in the same list, or a 400.
"""

import base64
import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import Query
from pydantic import BeforeValidator

from services.chassis.errors import Problem
from services.chassis.http.problems import WHOLE_NUMBER

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
MAX_LENGTH = 1024
INTEGERS = range(-(1 << 31), 1 << 31)  # the range of every integer column
DIGITS = re.compile(r"0|[1-9][0-9]*")
MICROSECONDS = range(-(1 << 56), 1 << 58)


def _digits(text: object) -> object:
    """Return a number of a query, which has one spelling; pydantic would also take `+5`, `05` and `5.0`.

    Raises:
        ValueError: it is spelled in another way.
    """
    if isinstance(text, str) and not DIGITS.fullmatch(text):
        raise ValueError(WHOLE_NUMBER)
    return text


Limit = Annotated[int, BeforeValidator(_digits), Query(ge=1, le=200)]  # of a page of a list


def encode(list_name: str, *values: datetime | UUID | int | str) -> str:
    """Return a cursor after `values`, the sort key of the last item of a page.

    Args:
        list_name: identifies the list: its items, its filters and its order.
        values: integers have 32 bits.
    """
    data = orjson.dumps([_list_hash(list_name), *(_to_json(value) for value in values)])
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str | None, list_name: str, *types: type) -> tuple[Any, ...] | None:
    """Return the values passed to `encode`, as these types; None without a cursor or with an empty one.

    `decode(cursor, f"orders/{customer_id}/oldest", datetime, UUID)` gives `(created_at, id)`.

    Raises:
        Problem: `malformed-cursor` for anything but a cursor of this list.
    """
    if not text:
        return None
    try:
        if len(text) > MAX_LENGTH:
            raise ValueError("too long")
        data = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        list_hash, *values = orjson.loads(data)
        if list_hash != _list_hash(list_name) or len(values) != len(types):
            raise ValueError("of another list")
        return tuple(_from_json(value, kind) for value, kind in zip(values, types, strict=True))
    except (ValueError, TypeError, OverflowError):
        raise Problem("malformed-cursor") from None


def _list_hash(list_name: str) -> str:
    return hashlib.blake2b(list_name.encode(), digest_size=6).hexdigest()


def _to_json(value: datetime | UUID | int | str) -> int | str:
    if isinstance(value, datetime):
        return (value - EPOCH) // MICROSECOND
    return value.hex if isinstance(value, UUID) else value


def _from_json(value: Any, kind: type) -> Any:
    if kind is str:
        if type(value) is not str or "\0" in value:
            raise ValueError("not a string")
        return value
    if kind is UUID:
        if type(value) is not str or len(value) != 32:
            raise ValueError("not a UUID")
        return UUID(hex=value)
    if type(value) is not int or value not in (MICROSECONDS if kind is datetime else INTEGERS):
        raise ValueError("not a number in range")
    return EPOCH + value * MICROSECOND if kind is datetime else value
