"""The HTTP server with slow clients."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from services.chassis.http import server
from services.chassis.http.server import listen, serve
from tests.integration.chassis_harness import running
from tests.waiting import eventually

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
Connect = Callable[[], Any]


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer `/big` with 64 MiB, any other path with the size of the body."""
    if scope["type"] == "lifespan":
        raise RuntimeError("not supported")
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
    body = str(size).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
async def connect(free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Connect]:
    """Yield a function that connects to a server with short limits."""
    monkeypatch.setattr(server, "HEADER_SECONDS", 0.5)
    monkeypatch.setattr(server, "BODY_SECONDS", 0.5)
    monkeypatch.setattr(server, "WRITE_SECONDS", 0.5)
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 5)
    port = free_port()

    @contextlib.asynccontextmanager
    async def open_one() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
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

    async with running(serve(app, "127.0.0.1", port, drain_seconds=3).run):
        await eventually(answers)
        yield open_one


async def read_answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return await reader.readexactly(length)


async def ended(reader: asyncio.StreamReader, within: float = 5) -> float:
    """Return the seconds until the server closes the connection without a response."""
    began = time.monotonic()
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), within) == b""
    return time.monotonic() - began


async def test_connection_serves_many_requests(connect: Connect) -> None:
    """Also with a pause between them that is longer than the deadlines of a request."""
    async with connect() as (reader, writer):
        for pause in (0, 0, 0.8):
            await asyncio.sleep(pause)
            writer.write(GET)
            assert await read_answer(reader) == b"0"
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello" + GET)
        assert await read_answer(reader) == b"5"
        assert await read_answer(reader) == b"0"


async def test_silent_client_is_disconnected(connect: Connect) -> None:
    async with connect() as (reader, _):
        assert 0.3 < await ended(reader) < 3


async def test_client_with_slow_headers_is_disconnected(connect: Connect) -> None:
    async with connect() as (reader, writer):
        writer.write(GET)
        await read_answer(reader)  # the second request on a connection is limited too

        async def drip() -> None:
            with contextlib.suppress(ConnectionError):
                for byte in GET * 10:
                    writer.write(bytes([byte]) if byte != 13 else b"a")
                    await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        assert await ended(reader) < 3
        dripping.cancel()


async def test_client_with_a_slow_body_is_disconnected(connect: Connect) -> None:
    async with connect() as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhel")
        assert await ended(reader) < 3


async def test_too_large_headers_are_refused(connect: Connect) -> None:
    async with connect() as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 1000) for n in range(40)))
        assert (await reader.readline()).startswith(b"HTTP/1.1 400")


async def test_client_that_does_not_read_is_disconnected(connect: Connect) -> None:
    async with connect() as (reader, writer):
        writer.write(b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n")
        await reader.readexactly(1000)
        await asyncio.sleep(1.5)
        received = 0
        with contextlib.suppress(ConnectionError):
            while some := await asyncio.wait_for(reader.read(2**20), 5):
                received += len(some)
        assert received < 64 * 2**20


async def test_connections_are_bounded(connect: Connect) -> None:
    async with contextlib.AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(connect()) for _ in range(5)]
        for _, writer in opened:
            writer.write(GET)
        for reader, _ in opened:
            assert await read_answer(reader) == b"0"
        reader, writer = await stack.enter_async_context(connect())
        writer.write(GET)
        assert await ended(reader) < 0.4


def test_address_in_use_is_named() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        taken.listen()
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1 port {port}: "):
            listen("127.0.0.1", port)


async def test_app_that_does_not_start_is_an_error(free_port: Callable[[], int]) -> None:
    async def broken(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no"})

    with pytest.raises(RuntimeError, match="did not start"):
        await serve(broken, "127.0.0.1", free_port(), drain_seconds=3).run(asyncio.Event())
