"""The fault proxy that other tests use."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from tests.fault_proxy import FaultProxy, fault_proxy
from tests.waiting import eventually

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def proxy() -> AsyncIterator[FaultProxy]:
    """Open a proxy in front of an echo server."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1024):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, fault_proxy(server.sockets[0].getsockname()[1]) as opened:
        yield opened


async def connect(proxy: FaultProxy) -> Streams:
    return await asyncio.open_connection("127.0.0.1", proxy.port)


async def echoed(streams: Streams, word: bytes) -> bytes:
    streams[1].write(word)
    return await asyncio.wait_for(streams[0].read(1024), 10)


async def test_bytes_arrive_and_are_counted(proxy: FaultProxy) -> None:
    one, other = await connect(proxy), await connect(proxy)
    assert [await echoed(one, b"a"), await echoed(other, b"b"), await echoed(one, b"c")] == [b"a", b"b", b"c"]
    assert (proxy.asks, proxy.most_asked, proxy.connections) == (3, 1, 2)
    one[1].close()
    await eventually(lambda: proxy.connections == 1)
    other[1].close()


async def test_delay_applies_to_every_connection(proxy: FaultProxy) -> None:
    one, other = await connect(proxy), await connect(proxy)
    proxy.delay = 0.1
    begun = time.monotonic()
    assert list(await asyncio.gather(echoed(one, b"a"), echoed(other, b"b"))) == [b"a", b"b"]
    assert time.monotonic() - begun >= 0.2
    assert proxy.most_asked == 2
    one[1].close()
    other[1].close()


async def test_dropped_bytes_never_arrive(proxy: FaultProxy) -> None:
    one = await connect(proxy)
    proxy.mode = "drop"
    one[1].write(b"a")
    await eventually(lambda: proxy.asks == 1)
    proxy.heal()
    assert await echoed(one, b"b") == b"b"
    one[1].close()


async def test_reset_breaks_open_and_new_connections(proxy: FaultProxy) -> None:
    one = await connect(proxy)
    assert await echoed(one, b"a") == b"a"
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        await echoed(one, b"b")
    with pytest.raises(ConnectionResetError):
        await echoed(await connect(proxy), b"c")
    proxy.heal()
    two = await connect(proxy)
    assert await echoed(two, b"d") == b"d"
    two[1].close()
