"""Connections to services: kept, bounded, and never used for somebody else's answer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvloop

from services.chassis.client import connection_pool as module
from services.chassis.client.connection_pool import ConnectionPool, Malformed, Origin, Received, written
from tests.waiting import eventually

Script = Callable[[int, bytes, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(script: Script) -> AsyncIterator[tuple[Origin, list[int]]]:
    """Answers each request by the script, which is told its number; the list says which connection each came on."""
    came_on: list[int] = []
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
                came_on.append(mine)
                await script(len(came_on), head, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client has gone, or the test is over
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield Origin("127.0.0.1", listening.sockets[0].getsockname()[1]), came_on
    finally:
        listening.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving)
        await asyncio.sleep(0)  # the transports' own last step


def answer(body: bytes, *headers: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers, "", ""]).encode() + body


async def number(at: int, _: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(b"%d" % at, f"X-Number: {at}"))


async def get(connections: ConnectionPool, origin: Origin) -> Received:
    return await connections.ask(origin, "GET", "/x", {}, None)


async def test_a_connection_is_kept_and_two_at_once_are_two() -> None:
    async with server(number) as (origin, came_on), ConnectionPool() as connections:
        found = [await get(connections, origin) for _ in range(3)]
        assert [(one.status, one.data, one.headers["x-number"]) for one in found] == [
            (200, b"1", "1"),
            (200, b"2", "2"),
            (200, b"3", "3"),
        ]
        await asyncio.gather(*(get(connections, origin) for _ in range(2)))
    assert came_on == [1, 1, 1, 1, 2] or came_on == [1, 1, 1, 2, 1]


def test_the_loop_of_our_processes_does_it_as_well() -> None:
    async def main() -> list[bytes]:
        async with server(number) as (origin, _), ConnectionPool() as connections:
            return [(await get(connections, origin)).data for _ in range(2)]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(main()) == [b"1", b"2"]


async def test_a_body_in_pieces_is_whole_and_hints_before_it_are_no_answer() -> None:
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

    async with server(script) as (origin, came_on), ConnectionPool() as connections:
        for _ in range(2):
            found = await get(connections, origin)
            assert (found.status, found.data, "link" in found.headers) == (200, b"abcde", False)
    assert came_on == [1, 1]


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_what_has_no_body_ends_with_its_headers(status: str) -> None:
    async def script(_: int, __: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status}\r\nETag: x\r\n\r\n".encode())

    async with server(script) as (origin, came_on), ConnectionPool() as connections:
        assert [(await get(connections, origin)).data for _ in range(2)] == [b"", b""]
    assert came_on == [1, 1]


@pytest.mark.parametrize(
    "said",
    [
        answer(b"a", "Connection: close"),
        answer(b"a") + answer(b"for nobody"),
        answer(b"a") + b"HTTP/1.1 2",
        b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na",
    ],
)
async def test_a_connection_in_doubt_is_not_used_again(said: bytes) -> None:
    async def script(_: int, __: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(said)

    async with server(script) as (origin, came_on), ConnectionPool() as connections:
        assert [(await get(connections, origin)).data for _ in range(2)] == [b"a", b"a"]
    assert came_on == [1, 2]


async def test_an_answer_that_comes_unasked_ends_the_connection() -> None:
    later = asyncio.Event()

    async def script(at: int, _: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(b"%d" % at))
        if at == 1:
            await later.wait()
            writer.write(answer(b"for nobody"))

    async with server(script) as (origin, came_on), ConnectionPool() as connections:
        assert (await get(connections, origin)).data == b"1"
        later.set()
        await eventually(lambda: not connections._all)
        assert (await get(connections, origin)).data == b"2"
    assert came_on == [1, 2]


async def test_who_gives_up_ends_the_connection() -> None:
    go_on = asyncio.Event()

    async def script(at: int, _: bytes, writer: asyncio.StreamWriter) -> None:
        if at == 1:
            await go_on.wait()
        writer.write(answer(b"%d" % at))

    async with server(script) as (origin, came_on), ConnectionPool() as connections:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await get(connections, origin)
        go_on.set()
        assert (await get(connections, origin)).data == b"2"
    assert came_on == [1, 2]


async def test_an_old_connection_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_SECONDS", -1.0)
    async with server(number) as (origin, came_on), ConnectionPool() as connections:
        for _ in range(2):
            await get(connections, origin)
        await eventually(lambda: len(connections._all) == 1)
    assert came_on == [1, 2]


async def test_there_are_never_more_than_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    async with server(number) as (origin, came_on), ConnectionPool() as connections:
        found = await asyncio.gather(*(get(connections, origin) for _ in range(10)))
    assert sorted(int(one.data) for one in found) == list(range(1, 11))
    assert set(came_on) == {1, 2}


async def test_the_end_ends_those_that_wait() -> None:
    async def never(_: int, __: bytes, ___: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with server(never) as (origin, came_on):
        connections = ConnectionPool()
        waiting = asyncio.create_task(get(connections, origin))
        await eventually(lambda: bool(came_on))
        await connections.close()
        with pytest.raises(ConnectionError):
            await waiting
        with pytest.raises(ConnectionError):
            await get(connections, origin)


@pytest.mark.parametrize("said", [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n"])
async def test_what_is_no_http_is_malformed(said: bytes) -> None:
    async def script(_: int, __: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(said)

    async with server(script) as (origin, _), ConnectionPool() as connections:
        with pytest.raises(Malformed):
            await get(connections, origin)
        await eventually(lambda: not connections._all)


def test_a_request_says_where_it_goes_and_how_long_it_is() -> None:
    origin = Origin("::1", 80)
    assert written(origin, "POST", "/a?b=c", {"A": "é"}, b"{}") == (
        b"POST /a?b=c HTTP/1.1\r\nHost: [::1]:80\r\nA: \xc3\xa9\r\nContent-Length: 2\r\n\r\n{}"
    )
    assert written(origin, "POST", "/", {}, None).endswith(b"Content-Length: 0\r\n\r\n")
    assert b"Content-Length" not in written(origin, "GET", "/", {}, None)


@pytest.mark.parametrize("evil", ["a\r\nB: c", "a\nB: c", "a\rB", "\0", "a\r\n\r\nGET / HTTP/1.1"])
def test_no_value_begins_a_line_of_its_own(evil: str) -> None:
    origin = Origin("x", 80)
    with pytest.raises(ValueError, match="line"):
        written(origin, "GET", "/", {"A": evil}, None)
    with pytest.raises(ValueError, match="line"):
        written(origin, "GET", "/" + evil, {}, None)
