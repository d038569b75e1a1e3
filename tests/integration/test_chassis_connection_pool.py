"""The connection pool: persistent, bounded, and safe from responses to other requests."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvloop

from services.chassis.client import connection_pool as module
from services.chassis.client.connection_pool import (
    ConnectionPool,
    MalformedResponse,
    Origin,
    RawResponse,
    encode_request,
)
from tests.waiting import eventually

Script = Callable[[int, bytes, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(script: Script) -> AsyncIterator[tuple[Origin, list[int]]]:
    """Yield a server that runs the script for the n-th request, and the number of the connection of each request."""
    connections: list[int] = []
    connected = 0
    serving: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connected
        connected += 1
        mine = connected
        task = asyncio.current_task()
        assert task is not None
        serving.append(task)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                connections.append(mine)
                await script(len(connections), head, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client has disconnected, or the test has ended
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield Origin("127.0.0.1", listening.sockets[0].getsockname()[1]), connections
    finally:
        listening.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving)
        await asyncio.sleep(0)  # lets the transports close


def answer(body: bytes, *headers: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers, "", ""]).encode() + body


async def number(at: int, _: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(b"%d" % at, f"X-Number: {at}"))


async def get(pool: ConnectionPool, origin: Origin) -> RawResponse:
    return await pool.request(origin, "GET", "/x", {}, None)


async def test_connection_is_reused_and_concurrent_requests_use_two() -> None:
    async with server(number) as (origin, connections), ConnectionPool() as pool:
        found = [await get(pool, origin) for _ in range(3)]
        assert [(one.status, one.data, one.headers["x-number"]) for one in found] == [
            (200, b"1", "1"),
            (200, b"2", "2"),
            (200, b"3", "3"),
        ]
        await asyncio.gather(*(get(pool, origin) for _ in range(2)))
    assert connections == [1, 1, 1, 1, 2] or connections == [1, 1, 1, 2, 1]


def test_pool_works_on_uvloop() -> None:
    async def main() -> list[bytes]:
        async with server(number) as (origin, _), ConnectionPool() as pool:
            return [(await get(pool, origin)).data for _ in range(2)]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(main()) == [b"1", b"2"]


async def test_chunked_body_is_joined_and_informational_response_skipped() -> None:
    async def script(_: int, __: bytes, writer: asyncio.StreamWriter) -> None:
        for piece in (
            b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Enc",
            b"oding: chunked\r\n\r\n3\r\nabc\r",
            b"\n2\r\nde\r\n0\r\n\r\n",
        ):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)

    async with server(script) as (origin, connections), ConnectionPool() as pool:
        for _ in range(2):
            found = await get(pool, origin)
            assert (found.status, found.data, "link" in found.headers) == (200, b"abcde", False)
    assert connections == [1, 1]


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_response_without_body_ends_with_its_headers(status: str) -> None:
    async def script(_: int, __: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status}\r\nETag: x\r\n\r\n".encode())

    async with server(script) as (origin, connections), ConnectionPool() as pool:
        assert [(await get(pool, origin)).data for _ in range(2)] == [b"", b""]
    assert connections == [1, 1]


@pytest.mark.parametrize(
    "sent",
    [
        answer(b"a", "Connection: close"),
        answer(b"a") + answer(b"for nobody"),
        answer(b"a") + b"HTTP/1.1 2",
        b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na",
    ],
)
async def test_ambiguous_connection_is_not_reused(sent: bytes) -> None:
    async def script(_: int, __: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)

    async with server(script) as (origin, connections), ConnectionPool() as pool:
        assert [(await get(pool, origin)).data for _ in range(2)] == [b"a", b"a"]
    assert connections == [1, 2]


async def test_unsolicited_response_closes_the_connection() -> None:
    later = asyncio.Event()

    async def script(at: int, _: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(b"%d" % at))
        if at == 1:
            await later.wait()
            writer.write(answer(b"for nobody"))

    async with server(script) as (origin, connections), ConnectionPool() as pool:
        assert (await get(pool, origin)).data == b"1"
        later.set()
        await eventually(lambda: not pool._open)
        assert (await get(pool, origin)).data == b"2"
    assert connections == [1, 2]


async def test_timeout_of_a_request_closes_the_connection() -> None:
    release = asyncio.Event()

    async def script(at: int, _: bytes, writer: asyncio.StreamWriter) -> None:
        if at == 1:
            await release.wait()
        writer.write(answer(b"%d" % at))

    async with server(script) as (origin, connections), ConnectionPool() as pool:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await get(pool, origin)
        release.set()
        assert (await get(pool, origin)).data == b"2"
    assert connections == [1, 2]


async def test_old_idle_connection_is_not_reused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_SECONDS", -1.0)
    async with server(number) as (origin, connections), ConnectionPool() as pool:
        for _ in range(2):
            await get(pool, origin)
        await eventually(lambda: len(pool._open) == 1)
    assert connections == [1, 2]


async def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CONNECTIONS", 2)
    async with server(number) as (origin, connections), ConnectionPool() as pool:
        found = await asyncio.gather(*(get(pool, origin) for _ in range(10)))
    assert sorted(int(one.data) for one in found) == list(range(1, 11))
    assert set(connections) == {1, 2}


async def test_close_aborts_requests_in_progress() -> None:
    async def never(_: int, __: bytes, ___: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with server(never) as (origin, connections):
        pool = ConnectionPool()
        waiting = asyncio.create_task(get(pool, origin))
        await eventually(lambda: bool(connections))
        await pool.close()
        with pytest.raises(ConnectionError):
            await waiting
        with pytest.raises(ConnectionError):
            await get(pool, origin)


@pytest.mark.parametrize("sent", [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n"])
async def test_invalid_http_is_a_malformed_response(sent: bytes) -> None:
    async def script(_: int, __: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)

    async with server(script) as (origin, _), ConnectionPool() as pool:
        with pytest.raises(MalformedResponse):
            await get(pool, origin)
        await eventually(lambda: not pool._open)


def test_request_has_host_and_content_length() -> None:
    origin = Origin("::1", 80)
    assert encode_request(origin, "POST", "/a?b=c", {"A": "é"}, b"{}") == (
        b"POST /a?b=c HTTP/1.1\r\nHost: [::1]:80\r\nA: \xc3\xa9\r\nContent-Length: 2\r\n\r\n{}"
    )
    assert encode_request(origin, "POST", "/", {}, None).endswith(b"Content-Length: 0\r\n\r\n")
    assert b"Content-Length" not in encode_request(origin, "GET", "/", {}, None)


@pytest.mark.parametrize("evil", ["a\r\nB: c", "a\nB: c", "a\rB", "\0", "a\r\n\r\nGET / HTTP/1.1"])
def test_line_breaks_in_values_are_refused(evil: str) -> None:
    origin = Origin("x", 80)
    with pytest.raises(ValueError, match="line"):
        encode_request(origin, "GET", "/", {"A": evil}, None)
    with pytest.raises(ValueError, match="line"):
        encode_request(origin, "GET", "/" + evil, {}, None)
