"""The HTTP server with answers that are ready: sent at once where nothing is in their way, else by the app."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

from services.chassis.http import server
from services.chassis.http.ready_answers import Headers, ReadyAnswer, encode_head
from tests.integration.server_harness import GET, Connect, connections, read_answer

READY = GET.replace(b" / ", b" /ready ")  # the app answers it with the size of its body, as everything
BIG = b"x" * 2**20


def find_ready(target: bytes, headers: Headers) -> ReadyAnswer | None:
    body = {b"/ready": b"ready", b"/big-ready": BIG}.get(target)
    if body is None:
        return None
    return ReadyAnswer(encode_head(200, [(b"content-length", b"%d" % len(body)), *headers]), body)


@pytest.fixture
async def connect(free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Connect]:
    async with connections(free_port(), monkeypatch, find_ready=find_ready) as open_one:
        yield open_one


async def test_ready_answers_and_the_apps_come_in_the_order_of_the_requests(connect: Connect) -> None:
    """What stands behind an answer that the app has not finished waits for it, and is the app's then."""
    slow = GET.replace(b" / ", b" /slow ")
    async with connect() as (reader, writer):
        for _ in range(2):
            writer.write(READY + READY + GET + slow + READY)
            bodies = [(await read_answer(reader)).body for _ in range(5)]
            assert bodies == [b"ready", b"ready", b"0", b"0", b"0"]
        writer.write(READY[:9])
        await asyncio.sleep(0.05)
        writer.write(READY[9:-2])
        await asyncio.sleep(0.05)
        writer.write(READY[-2:])
        answer = await read_answer(reader)
        assert (answer.body, answer.headers["host"]) == (b"ready", "h")
        assert answer.headers["date"]
        assert "transfer-encoding" not in answer.headers


@pytest.mark.parametrize(
    "sent",
    [
        READY.replace(b"Host", b"Connection: close\r\nHost"),
        READY.replace(b"1.1", b"1.0"),
        READY.replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\nno"),
        READY.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n"),
        READY.replace(b"\r\n\r\n", b"\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"),
        READY.replace(b"GET", b"POST"),
        READY.replace(b"/ready", b"/ready?"),
    ],
)
async def test_other_requests_go_to_the_app(connect: Connect, sent: bytes) -> None:
    async with connect() as (reader, writer):
        writer.write(sent)
        assert (await read_answer(reader)).body in (b"0", b"2")


async def test_what_is_refused_is_refused_though_an_answer_is_ready(connect: Connect) -> None:
    async with connect() as (reader, writer):
        writer.write(READY + READY.replace(b"Host: h\r\n", b""))
        assert (await read_answer(reader)).body == b"ready"
        assert (await read_answer(reader)).status == 400
        assert await asyncio.wait_for(reader.read(), 3) == b""


async def test_a_client_that_does_not_read_gets_no_more_than_the_buffers_hold(connect: Connect) -> None:
    async with connect() as (reader, writer):
        writer.write(READY.replace(b"/ready", b"/big-ready") * 1_000)
        await reader.readexactly(1_000)
        await asyncio.sleep(1.5)
        received = 0
        with contextlib.suppress(ConnectionError):
            while some := await asyncio.wait_for(reader.read(2**20), 5):
                received += len(some)
        assert received < 64 * len(BIG)


async def test_a_connection_is_idle_behind_a_ready_answer(
    free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is closed in its time, and before that as soon as somebody else has no room."""
    monkeypatch.setattr(server, "KEEP_ALIVE_SECONDS", 1)
    async with (
        connections(free_port(), monkeypatch, find_ready=find_ready) as connect,
        contextlib.AsyncExitStack() as s,
    ):
        opened = []
        for host in range(1, 6):
            reader, writer = await s.enter_async_context(connect(host))
            writer.write(READY)
            assert (await read_answer(reader)).body == b"ready"
            opened.append(reader)
        reader, writer = await s.enter_async_context(connect(9))
        writer.write(READY)
        assert (await read_answer(reader)).body == b"ready"
        assert await asyncio.wait_for(opened[0].read(), 0.4) == b""
        for one in (*opened[1:], reader):
            assert await asyncio.wait_for(one.read(), 5) == b""
