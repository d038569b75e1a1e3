"""Gather what the owners keep of one person in a file of bounded size, before a byte of it is sent.

So an owner that is away refuses the whole, and nobody takes a part for everything. It is no snapshot of one moment:
what is written meanwhile may be in it or not.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from tempfile import SpooledTemporaryFile
from typing import Literal

import orjson

from services.chassis.client.client import within
from services.chassis.errors import unavailable
from services.contracts.event import rfc3339
from services.gateway.composition import representations
from services.gateway.composition.request_context import Json, RequestContext
from services.gateway.composition.upstreams import Upstream

AT_ONCE = 4  # being gathered or sent by one process
CALL_SECONDS = 10.0  # for each page of an owner
MOST_BYTES = 256 * 1024 * 1024
IN_MEMORY = 1024 * 1024  # what is larger goes to a file without a name
CHUNK = 64 * 1024

Owner = Literal["people", "posts", "comments", "notify"]
Shown = Callable[[Json, RequestContext], Json]


@dataclass(frozen=True)
class Section:
    """A part of the document: one thing of an owner, or all pages of a list of it."""

    name: str
    owner: Owner
    path: str
    shown: Shown
    is_list: bool = True


SECTIONS = (
    Section("me", "people", "/me", lambda raw, at: representations.me(raw, at.public_url), is_list=False),
    Section(
        "sessions", "people", "/me/sessions", lambda raw, at: representations.open_session(raw, at.viewer.session_id)
    ),
    Section("posts", "posts", "/me/export/posts", lambda raw, at: representations.exported_post(raw, at.public_url)),
    Section("revisions", "posts", "/me/export/revisions", lambda raw, _: representations.exported_revision(raw)),
    Section("images", "posts", "/me/export/images", lambda raw, at: representations.image(raw, at.public_url)),
    Section("comments", "comments", "/me/export/comments", lambda raw, _: representations.exported_comment(raw)),
    Section("mail", "notify", "/me/mail", lambda raw, _: representations.mail(raw), is_list=False),
    Section("follows", "notify", "/me/export/follows", lambda raw, _: representations.follow(raw)),
    Section("notifications", "notify", "/me/notifications", lambda raw, _: representations.notification(raw)),
)


class Export:
    """The whole document in a file, and a turn of this process; both must be given back by `close`."""

    def __init__(self, turn: asyncio.Semaphore) -> None:
        self._turn = turn
        self._file = SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115  # closed by `close`
        self.size = 0

    async def write(self, data: bytes) -> None:
        """Add a piece.

        Raises:
            Problem: `unavailable` when there is no room.
        """
        self.size += len(data)
        if self.size > MOST_BYTES:
            raise unavailable("It is too large to be put together here.")
        try:
            await asyncio.to_thread(self._file.write, data)
        except OSError:
            raise unavailable("There is no room to put it together.") from None

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the document."""
        await asyncio.to_thread(self._file.seek, 0)
        while chunk := await asyncio.to_thread(self._file.read, CHUNK):
            yield chunk

    def close(self) -> None:
        """Give back the file and the turn."""
        self._file.close()
        self._turn.release()


async def gather(context: RequestContext, turn: asyncio.Semaphore) -> Export:
    """Return everything that the owners keep of the viewer, complete.

    Raises:
        Problem: `unavailable` when an owner is away, the document is too large, or too many are being made.
    """
    if turn.locked():
        raise unavailable("Others are being put together here. Try again in a minute.")
    await turn.acquire()
    with ExitStack() as stack:
        export = Export(turn)
        stack.callback(export.close)
        await export.write(b'{"exported_at":' + orjson.dumps(rfc3339(datetime.now(UTC))))
        for section in SECTIONS:
            await export.write(b"," + orjson.dumps(section.name) + b":")
            if section.is_list:
                await _write_list(context, section, export)
            else:
                await export.write(orjson.dumps(section.shown(await _ask(context, section, None), context)))
        await export.write(b"}")
        stack.pop_all()
    return export


async def _write_list(context: RequestContext, section: Section, export: Export) -> None:
    separator, cursor = b"[", None
    while True:
        page = await _ask(context, section, cursor)
        for item in page["items"]:
            await export.write(separator + orjson.dumps(section.shown(item, context)))
            separator = b","
        cursor = page["next"]
        if cursor is None:
            await export.write(b"[]" if separator == b"[" else b"]")
            return


async def _ask(context: RequestContext, section: Section, cursor: str | None) -> Json:
    if time.monotonic() >= context.deadline:
        raise unavailable("It takes too long to put it together now.")
    upstream: Upstream = getattr(context.upstreams, section.owner)
    deadline = min(context.deadline, within(CALL_SECONDS))
    raw: Json = await upstream.get(
        section.path, context.viewer.caller, deadline, {"cursor": cursor} if cursor is not None else {}
    )
    return raw
