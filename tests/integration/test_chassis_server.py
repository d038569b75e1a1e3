"""The HTTP server with slow clients."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from services.chassis.http.server import listen, serve
from tests.integration.server_harness import GET, Connect, connections, read_answer


@pytest.fixture
async def connect(free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Connect]:
    """Yield a function that connects to a server with short limits."""
    async with connections(free_port(), monkeypatch) as open_one:
        yield open_one


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
            assert (await read_answer(reader)).body == b"0"
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello" + GET)
        assert (await read_answer(reader)).body == b"5"
        assert (await read_answer(reader)).body == b"0"


async def test_silent_client_is_disconnected(connect: Connect) -> None:
    async with connect() as (reader, _):
        assert 0.3 < await ended(reader) < 3


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
            assert (await read_answer(reader)).body == b"0"
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
