"""A server with short limits, and raw connections to it."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import pytest

from services.chassis.http import connection_shares, protocol
from services.chassis.http.server import serve
from tests.integration.chassis_harness import running
from tests.waiting import eventually

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[..., AbstractAsyncContextManager[Streams]]  # with the last part of the client's address


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer `/early` and `/too-large` before the body, `/big` with 64 MiB, `/some` with 50,000 bytes, `/headers` with
    those of the request, `/stream` with nothing until the client leaves, any other path with the size of the body.
    """
    if scope["type"] == "lifespan":
        raise RuntimeError("not supported")
    if scope["path"] == "/early":
        await send({"type": "http.response.start", "status": 403, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"no"})
        return
    if scope["path"] == "/too-large":
        headers = [(b"content-length", b"2"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": b"no"})
        return
    if scope["path"] == "/slow":
        await asyncio.sleep(0.8)
    size = 0
    more = True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    if scope["path"] == "/big":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(64):
            await send({"type": "http.response.body", "body": b"x" * 2**20, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return
    if scope["path"] == "/stream":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        return
    body = b"x" * 50_000 if scope["path"] == "/some" else str(size).encode()
    if scope["path"] == "/headers":
        body = json.dumps([[name.decode(), value.decode()] for name, value in scope["headers"]]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@contextlib.asynccontextmanager
async def connections(
    port: int, monkeypatch: pytest.MonkeyPatch, asgi: Any = app, **options: Any
) -> AsyncIterator[Connect]:
    """Serve with short limits during the block; yield a function that connects."""
    for name in ("HEADER_SECONDS", "BODY_SECONDS", "WRITE_SECONDS", "LINGER_SECONDS"):
        monkeypatch.setattr(protocol, name, 0.5)
    monkeypatch.setattr(protocol, "WHOLE_BODY_SECONDS", 2.0)
    monkeypatch.setattr(connection_shares, "MAX_CONNECTIONS", 5)
    monkeypatch.setattr(connection_shares, "SHARE", 3)

    @contextlib.asynccontextmanager
    async def open_one(host: int = 1) -> AsyncIterator[Streams]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(f"127.0.0.{host}", 0))
        try:
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def answers() -> bool:
        try:
            async with open_one():
                return True
        except OSError:
            return False

    async with running(serve(asgi, "127.0.0.1", port, drain_seconds=3, **options).run):
        await eventually(answers)
        yield open_one


@dataclass(frozen=True)
class Answer:
    """One response as it came."""

    status: int
    headers: dict[str, str]
    body: bytes


async def read_answer(reader: asyncio.StreamReader, within: float = 5) -> Answer:
    async with asyncio.timeout(within):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers["content-length"]))
    return Answer(int(first.split(" ")[1]), headers, body)
