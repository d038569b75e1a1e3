"""The HTTP server with slow clients."""

import asyncio
import contextlib
import gc
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from services.chassis.http import connection_shares, protocol
from services.chassis.http.client_networks import Networks
from services.chassis.http.server import listen, serve
from services.chassis.http.shared_protocol import SharedHttpProtocol
from tests.integration.server_harness import GET, Connect, connections, read_answer
from tests.waiting import eventually


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


GET_STREAM = GET.replace(b" / ", b" /stream ")
HALF = b"GET / HTTP/1.1\r\nHost: h\r\n"
HALF_BODY = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhel"
Opened = list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]


async def open_all(stack: contextlib.AsyncExitStack, connect: Connect, hosts: list[int], sent: bytes) -> Opened:
    """Open a connection from each of these addresses and send the bytes; wait for an answer if one is due."""
    opened = []
    for host in hosts:
        reader, writer = await stack.enter_async_context(connect(host))
        writer.write(sent)
        if sent == GET:
            assert (await read_answer(reader)).body == b"0"
        elif sent == GET_STREAM:
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        opened.append((reader, writer))
    await asyncio.sleep(0.05)  # until the server has read what is not answered
    return opened


@pytest.mark.parametrize("sent", [GET, HALF, HALF_BODY, b""])
async def test_somebody_else_gets_in_when_all_connections_wait_for_their_clients(connect: Connect, sent: bytes) -> None:
    async with contextlib.AsyncExitStack() as stack:
        (first, _), *others = await open_all(stack, connect, [1, 2, 3, 4, 5], sent)
        await open_all(stack, connect, [9], GET)
        assert await ended(first) < 0.4
        if sent == GET:
            for reader, writer in others:
                writer.write(GET)
                assert (await read_answer(reader)).body == b"0"


async def test_idle_connections_are_closed_before_others(connect: Connect) -> None:
    async with contextlib.AsyncExitStack() as stack:
        ((half, writer),) = await open_all(stack, connect, [1], HALF)
        idle = await open_all(stack, connect, [2, 3, 4, 5], GET)
        await open_all(stack, connect, [9], GET)
        assert await ended(idle[0][0]) < 0.4
        writer.write(b"\r\n")
        assert (await read_answer(half)).body == b"0"


async def test_streams_are_not_idle(connect: Connect) -> None:
    async with contextlib.AsyncExitStack() as stack:
        streams = await open_all(stack, connect, [1, 2, 3, 4, 5], GET_STREAM)
        reader, writer = await stack.enter_async_context(connect(9))
        writer.write(GET)
        assert await ended(reader) < 0.4
        assert not any(reader.at_eof() for reader, _ in streams)


async def test_client_that_does_not_read_gives_way(connect: Connect) -> None:
    async with contextlib.AsyncExitStack() as stack:
        await open_all(stack, connect, [1, 2, 3, 4, 5], GET.replace(b" / ", b" /big "))
        await open_all(stack, connect, [9], GET)


async def test_responses_that_nobody_reads_are_bounded(
    free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connections(free_port(), monkeypatch, public=True) as connect, contextlib.AsyncExitStack() as stack:
        monkeypatch.setattr(connection_shares, "UNREAD_BYTES", 2**20)
        monkeypatch.setattr(protocol, "WRITE_SECONDS", 30.0)
        opened = [await stack.enter_async_context(connect(host)) for host in (1, 2, 3)]
        for reader, writer in opened:
            writer.write(GET.replace(b" / ", b" /big "))
            await asyncio.wait_for(
                reader.readexactly(1), 30
            )  # the response has begun, so that this order is that of age
        (first, _), *_ = opened
        received = 0
        with contextlib.suppress(ConnectionError):
            while some := await asyncio.wait_for(first.read(2**20), 30):
                received += len(some)
        assert received < 64 * 2**20


@pytest.mark.parametrize("sent", [GET, HALF, HALF_BODY, b"", GET_STREAM])
async def test_one_address_has_a_share(
    free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    async with connections(free_port(), monkeypatch, public=True) as connect, contextlib.AsyncExitStack() as stack:
        (first, _), *_ = await open_all(stack, connect, [2, 2, 2], sent)
        others = await open_all(stack, connect, [3, 4], GET)
        reader, writer = await stack.enter_async_context(connect(2))
        writer.write(GET)
        if sent == GET_STREAM:
            assert await ended(reader) < 0.4
        else:
            assert (await read_answer(reader)).body == b"0"
            assert await ended(first) < 0.4
        for other, writer in others:
            writer.write(GET)
            assert (await read_answer(other)).body == b"0"


async def test_proxies_have_no_share(free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> None:
    proxies = Networks(["127.0.0.2"])
    async with (
        connections(free_port(), monkeypatch, public=True, proxies=proxies) as connect,
        contextlib.AsyncExitStack() as stack,
    ):
        for reader, writer in await open_all(stack, connect, [2, 2, 2, 2, 2], GET):
            writer.write(GET)
            assert (await read_answer(reader)).body == b"0"


async def test_closed_connection_whose_client_does_not_read_is_cut(
    free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when what is left of the response is too little to pause writing."""

    def listen_with_small_buffer(host: str, port: int) -> socket.socket:
        listening = listen(host, port)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        return listening

    monkeypatch.setattr("services.chassis.http.server.listen", listen_with_small_buffer)
    port = free_port()
    async with connections(port, monkeypatch):
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            client.connect(("127.0.0.1", port))
            client.send(b"GET /some HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            await asyncio.sleep(1.5)
            client.settimeout(3)
            received = 0
            with contextlib.suppress(ConnectionError):
                while some := await asyncio.to_thread(client.recv, 2**16):
                    received += len(some)
            assert received < 50_000


@pytest.mark.parametrize("sent", [GET.replace(b" / ", b" /some "), GET.replace(b" / ", b" /big ") * 9, GET_STREAM])
async def test_nothing_is_kept_of_a_connection_that_was_reset(connect: Connect, sent: bytes) -> None:
    """Nor is anything left for a collection, which may come much later."""

    def alive() -> int:
        return sum(isinstance(one, (SharedHttpProtocol, RequestResponseCycle)) for one in gc.get_objects())

    gc.collect()
    gc.disable()
    before = alive()
    try:
        for _ in range(3):
            async with connect() as (reader, writer):
                writer.write(sent)
                await reader.readuntil(b"\r\n\r\n")
                await asyncio.sleep(0.05)  # until all is sent that can be
                reset = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
                writer.transport.abort()
        await eventually(lambda: alive() <= before)
    finally:
        gc.enable()


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
