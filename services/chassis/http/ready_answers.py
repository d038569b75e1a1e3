"""Answers that are ready as bytes: the server sends them at once, without a task, a cycle and messages of ASGI.

An app that has some gives the server a function that finds them. The app itself answers the same under any server.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

Headers = Sequence[tuple[bytes, bytes]]

CONTROL = re.compile(rb"[\0-\x08\x0a-\x1f\x7f]")  # all but the tab


@dataclass(frozen=True, slots=True)
class ReadyAnswer:
    """A whole response but for `Date`.

    Attributes:
        head: the status line and the fields, each with its line end, without the empty line behind them.
    """

    head: bytes
    body: bytes


# Finds the answer to a GET by its target and headers, whose names are in lower case; None leaves it to the app.
FindReady = Callable[[bytes, Headers], ReadyAnswer | None]


def encode_head(status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the head of a `ReadyAnswer`.

    Raises:
        ValueError: a control character stands in a field, so that it could be read as several.
    """
    lines = [b"HTTP/1.1 %d %s" % (status, HTTPStatus(status).phrase.encode())]
    lines += [name + b": " + value for name, value in headers]
    if any(CONTROL.search(line) for line in lines):
        raise ValueError("a header has a control character")
    return b"\r\n".join(lines) + b"\r\n"
