"""The HTTP server with requests that are malformed, too large or too slow: problem details, then the end."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable

import pytest

from services.chassis.http.monitoring import monitoring_app
from tests.integration.server_harness import GET, Answer, Connect, connections, read_answer

HEAD = b"POST / HTTP/1.1\r\nHost: h\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
async def connect(free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Connect]:
    """Yield a function that connects to a server with short limits."""
    async with connections(free_port(), monkeypatch) as open_one:
        yield open_one


def check_problem(answer: Answer, status: int, kind: str) -> str:
    """Check a refusal; return its detail."""
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json"), answer
    problem = json.loads(answer.body)
    assert (problem["type"], problem["status"]) == (f"/problems/{kind}", status)
    assert problem["title"]
    assert problem["instance"] == answer.headers["x-request-id"] != ""
    assert answer.headers["connection"] == "close"
    assert answer.headers["cache-control"] == "no-store"
    return str(problem["detail"])


async def refused(connect: Connect, sent: bytes, status: int, kind: str) -> str:
    """Send bytes; check that they are answered with one problem and the end of the connection."""
    async with connect() as (reader, writer):
        writer.write(sent)
        detail = check_problem(await read_answer(reader), status, kind)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        return detail


@pytest.mark.parametrize(
    "sent",
    [
        *(b"BREW / HTTP/1.1\r\nHost: h\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"nonsense\r\n\r\n"),
        *(b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", b"GET / HTTP/0.9\r\n\r\n", b"GET /\r\n\r\n"),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        *(b"GET /\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n", b"GET /?q=\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n"),
        *(b"GET x HTTP/1.1\r\nHost: h\r\n\r\n", b"CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n"),
        *(b"GET http://h HTTP/1.1\r\nHost: h\r\n\r\n", b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"),
        *(b"GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n", b"GET / HTTP/1.1\r\nHost: h\r\nX : a\r\n\r\n"),
        *(HEAD + b"Content-Length: x\r\n\r\n", HEAD + b"Content-Length: -1\r\n\r\n"),
        HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n",
        HEAD + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        *(CHUNKED + b"zz\r\n", CHUNKED + b"3\r\nabcdef\r\n", CHUNKED + b"fffffffffffffffffff\r\n"),
    ],
)
async def test_what_is_not_http_is_a_malformed_request(connect: Connect, sent: bytes) -> None:
    await refused(connect, sent, 400, "malformed-request")


@pytest.mark.parametrize(
    "codings",
    [
        *([b"identity", b"chunked"], [b"chunked", b"identity"], [b"identity, chunked"], [b"gzip, chunked"]),
        *([b"identity"], [b"gzip"], [b"chunked", b"chunked"], [b"chunked, chunked"], [b""], [b"\x0bchunked"]),
    ],
)
async def test_other_transfer_codings_are_refused(connect: Connect, codings: list[bytes]) -> None:
    lines = b"".join(b"Transfer-Encoding: %s\r\n" % coding for coding in codings)
    await refused(connect, HEAD + lines + b"\r\n0\r\n\r\n", 400, "malformed-request")
    await refused(connect, HEAD.replace(b"1.1", b"1.0") + lines + b"\r\n0\r\n\r\n", 400, "malformed-request")


async def test_chunked_is_refused_in_http_1_0(connect: Connect) -> None:
    await refused(connect, CHUNKED.replace(b"1.1", b"1.0") + b"0\r\n\r\n", 400, "malformed-request")


@pytest.mark.parametrize("name", ["Authorization", "Content-Type", "Host", "Origin", "Referer", "Sec-Fetch-Site"])
@pytest.mark.parametrize("second", ["{}: b", "{}: a", "X: y\r\n{}: b"])
async def test_repeated_header_is_named(connect: Connect, name: str, second: str) -> None:
    host = "" if name == "Host" else "Host: h\r\n"
    lines = f"{name}: a\r\n{second.format(name.lower())}\r\n"
    detail = await refused(connect, f"GET / HTTP/1.1\r\n{host}{lines}\r\n".encode(), 400, "malformed-request")
    assert name in detail


@pytest.mark.parametrize(
    "host",
    [b"", b"Host:\r\n", b"Host: a b\r\n", b"Host: a,b\r\n", b"Host: a/b\r\n", b"Host: u@h\r\n", b"Host: [x]\r\n"],
)
async def test_missing_or_impossible_host_is_refused(connect: Connect, host: bytes) -> None:
    assert "Host" in await refused(connect, b"GET / HTTP/1.1\r\n" + host + b"\r\n", 400, "malformed-request")


@pytest.mark.parametrize(
    "sent",
    [
        *(b"GET / HTTP/1.0\r\n\r\n", b"GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n"),
        *(b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a_b-c.example.:8080\r\n\r\n"),
        *(b"GET / HTTP/1.1\r\nHost: h\r\nX: \xc3\xa9\r\nX: 2\r\n\r\n", b"\r\n\r\n" + GET),
        *(CHUNKED.replace(b"chunked", b"Chunked") + b"0\r\n\r\n", CHUNKED + b"0;a=b\r\nTrailer: x\r\n\r\n"),
    ],
)
async def test_unusual_requests_are_served(connect: Connect, sent: bytes) -> None:
    async with connect() as (reader, writer):
        writer.write(sent)
        assert (await read_answer(reader)).body == b"0"


async def test_head_request_is_refused_without_a_body(connect: Connect) -> None:
    async with connect() as (reader, writer):
        writer.write(b"HEAD / HTTP/1.1\r\n\r\n")
        received = await asyncio.wait_for(reader.read(), 5)
        assert received.startswith(b"HTTP/1.1 400 ")
        assert received.endswith(b"\r\n\r\n")


def many_headers(size: int) -> bytes:
    return b"".join(b"X-%d: %s\r\n" % (n, b"a" * 1000) for n in range(size // 1000))


@pytest.mark.parametrize("end", [b"\r\n", b""])
@pytest.mark.parametrize("size", [40_000, 100_000, 2_000_000])
async def test_too_large_headers_are_refused(connect: Connect, size: int, end: bytes) -> None:
    """Complete or not, one or many, in one read or several."""
    head = b"GET / HTTP/1.1\r\nHost: h\r\n"
    await refused(connect, head + many_headers(size) + end, 431, "headers-too-large")
    await refused(connect, head + b"X: " + b"a" * size + (b"\r\n" + end if end else b""), 431, "headers-too-large")
    await refused(
        connect, b"GET /" + b"a" * size + (b" HTTP/1.1\r\nHost: h\r\n\r\n" if end else b""), 431, "headers-too-large"
    )


async def test_too_many_headers_are_refused(connect: Connect) -> None:
    head = b"GET / HTTP/1.1\r\nHost: h\r\n"
    await refused(connect, head + b"a:b\r\n" * 200 + b"\r\n", 431, "headers-too-large")
    async with connect() as (reader, writer):
        writer.write(head + b"a:b\r\n" * 199 + b"\r\n")
        assert (await read_answer(reader)).body == b"0"


async def test_too_many_trailers_are_refused(connect: Connect) -> None:
    await refused(connect, CHUNKED + b"0\r\n" + b"a:b\r\n" * 201 + b"\r\n", 431, "headers-too-large")
    async with connect() as (reader, writer):
        for _ in range(2):
            writer.write(CHUNKED + b"0\r\n" + b"a:b\r\n" * 200 + b"\r\n")
            assert (await read_answer(reader)).body == b"0"


async def test_too_many_parameters_are_refused(connect: Connect) -> None:
    await refused(connect, GET.replace(b" / ", b" /?" + b"a&" * 500 + b" "), 400, "malformed-request")
    async with connect() as (reader, writer):
        writer.write(GET.replace(b" / ", b" /?" + b"a&" * 499 + b" "))
        assert (await read_answer(reader)).body == b"0"


async def test_large_headers_below_the_bound_are_served(connect: Connect) -> None:
    async with connect() as (reader, writer):
        for _ in range(3):
            writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n" + many_headers(30_000) + b"\r\n")
            writer.write(b"b" * 200_000)
            assert (await read_answer(reader)).body == b"200000"


@pytest.mark.parametrize(
    "trailers", [many_headers(40_000) + b"\r\n", many_headers(40_000), b"X: " + b"a" * 600_000, b"a" * 600_000]
)
async def test_too_large_trailers_are_refused(connect: Connect, trailers: bytes) -> None:
    await refused(connect, CHUNKED + b"1\r\na\r\n0\r\n" + trailers, 431, "headers-too-large")


async def test_endless_chunk_extension_is_refused(connect: Connect) -> None:
    await refused(connect, CHUNKED + b"1;" + b"a" * 600_000, 431, "headers-too-large")


async def test_endless_trailers_end_the_connection(connect: Connect) -> None:
    async with connect() as (_, writer):
        writer.write(CHUNKED + b"0\r\n")
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 50_000_000:
                writer.write(b"X: y\r\n" * 10_000)
                sent += 60_000
                await writer.drain()
        assert sent < 20_000_000


async def test_trailers_become_no_headers(connect: Connect) -> None:
    """Neither of their own request nor of the next one on the connection."""
    asked = CHUNKED.replace(b" / ", b" /headers ") + b"1\r\na\r\n0\r\nAuthorization: trailer\r\n\r\n"
    async with connect() as (reader, writer):
        writer.write(asked + asked + GET.replace(b" / ", b" /headers "))
        assert json.loads((await read_answer(reader)).body) == [["host", "h"], ["transfer-encoding", "chunked"]]
        assert json.loads((await read_answer(reader)).body) == [["host", "h"], ["transfer-encoding", "chunked"]]
        assert json.loads((await read_answer(reader)).body) == [["host", "h"]]


async def test_empty_headers_do_not_join_the_next(connect: Connect) -> None:
    async with connect() as (reader, writer):
        writer.write(b"GET /headers HTTP/1.1\r\nX:\r\nY: \r\nHost: h\r\n\r\n")
        assert json.loads((await read_answer(reader)).body) == [["x", ""], ["y", ""], ["host", "h"]]


@pytest.mark.parametrize("before", [b"", GET])
async def test_slow_headers_are_told_and_cut(connect: Connect, before: bytes) -> None:
    async with connect() as (reader, writer):
        if before:
            writer.write(before)
            await read_answer(reader)

        async def drip() -> None:
            with contextlib.suppress(ConnectionError):
                for byte in b"GET / HTTP/1.1\r\nX: " + b"a" * 100:
                    writer.write(bytes([byte]))
                    await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        check_problem(await read_answer(reader, 3), 408, "request-timeout")
        assert await asyncio.wait_for(reader.read(), 3) == b""
        dripping.cancel()


async def test_headers_begun_behind_a_whole_request_are_cut_too(connect: Connect) -> None:
    async with connect() as (reader, writer):
        writer.write(GET + b"GET / HT")
        assert (await read_answer(reader)).body == b"0"
        check_problem(await read_answer(reader, 3), 408, "request-timeout")


async def test_empty_lines_without_end_are_cut(connect: Connect) -> None:
    async with connect() as (reader, writer):
        writer.write(GET)
        await read_answer(reader)
        with contextlib.suppress(ConnectionError):
            for _ in range(40):
                writer.write(b"\r\n")
                await asyncio.sleep(0.05)
        assert reader.at_eof() or reader.exception()


@pytest.mark.parametrize("sent", [HEAD + b"Content-Length: 5\r\n\r\nhel", CHUNKED + b"5\r\nhel", CHUNKED + b"0\r\nX: "])
async def test_stalled_body_is_told_and_cut(connect: Connect, sent: bytes) -> None:
    async with connect() as (reader, writer):
        writer.write(sent)
        check_problem(await read_answer(reader, 3), 408, "request-timeout")
        assert await asyncio.wait_for(reader.read(), 3) == b""


async def test_body_with_progress_may_take_longer_than_a_pause(connect: Connect) -> None:
    async with connect() as (reader, writer):
        writer.write(HEAD + b"Content-Length: 5\r\n\r\n")
        for byte in b"hello":
            await asyncio.sleep(0.3)
            writer.write(bytes([byte]))
        assert (await read_answer(reader)).body == b"5"


async def test_body_may_not_drip_for_ever(connect: Connect) -> None:
    async with connect() as (reader, writer):
        writer.write(HEAD + b"Content-Length: 500\r\n\r\n")

        async def drip() -> None:
            with contextlib.suppress(ConnectionError):
                for _ in range(500):
                    writer.write(b"x")
                    await asyncio.sleep(0.1)

        dripping = asyncio.create_task(drip())
        check_problem(await read_answer(reader), 408, "request-timeout")
        dripping.cancel()


async def test_time_in_which_the_app_does_not_read_is_not_the_clients(connect: Connect) -> None:
    """The app sleeps for longer than a body may pause; a client that expects `100 Continue` waits for it."""
    async with connect() as (reader, writer):
        writer.write(HEAD.replace(b" / ", b" /slow ") + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 3)).startswith(b"HTTP/1.1 100 ")
        writer.write(b"hello")
        assert (await read_answer(reader)).body == b"5"
        writer.write(HEAD.replace(b" / ", b" /slow ") + b"Content-Length: 900000\r\n\r\n" + b"x" * 900_000)
        assert (await read_answer(reader)).body == b"900000"


async def test_body_that_stalls_after_its_answer_is_cut_without_another(connect: Connect) -> None:
    async with connect() as (reader, writer):
        writer.write(HEAD.replace(b" / ", b" /early ") + b"Content-Length: 5\r\n\r\nhel")
        assert (await read_answer(reader)).status == 403
        assert await asyncio.wait_for(reader.read(), 3) == b""


async def test_answer_that_closes_reaches_a_client_that_still_sends(connect: Connect) -> None:
    """A connection that is closed with unread bytes is reset, and the answer is lost with it."""
    head = HEAD.replace(b" / ", b" /too-large ") + b"Content-Length: 2000000\r\n\r\n"
    async with connect() as (reader, writer):
        writer.write(head + b"x" * 2_000_000 + GET)
        await writer.drain()
        await asyncio.sleep(0.1)
        assert (await read_answer(reader)).status == 413
        assert await asyncio.wait_for(reader.read(), 3) == b""
    async with connect() as (reader, writer):  # and one that does not send the rest is not waited for
        writer.write(head)
        assert (await read_answer(reader)).status == 413
        assert await asyncio.wait_for(reader.read(), 3) == b""


async def test_connection_is_closed_at_last_though_the_client_keeps_sending(connect: Connect) -> None:
    async with connect() as (reader, writer):
        writer.write(b"nonsense\r\n\r\n")
        check_problem(await read_answer(reader), 400, "malformed-request")
        with pytest.raises(ConnectionError):
            for _ in range(30):
                writer.write(b"x")
                await asyncio.sleep(0.1)
                await writer.drain()


@pytest.mark.parametrize(
    ("bad", "status", "kind"),
    [
        (b"BREW / HTTP/1.1\r\n\r\n", 400, "malformed-request"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "malformed-request"),
        (CHUNKED + b"zz\r\n", 400, "malformed-request"),
        (HEAD + b"Content-Length: 5\r\n\r\nhel", 408, "request-timeout"),
    ],
)
async def test_refusal_comes_after_the_answers_to_earlier_requests(
    connect: Connect, bad: bytes, status: int, kind: str
) -> None:
    slow = GET.replace(b" / ", b" /slow ")
    async with connect() as (reader, writer):
        writer.write(slow + GET + bad)
        assert (await read_answer(reader)).body == b"0"
        assert (await read_answer(reader)).body == b"0"
        check_problem(await read_answer(reader), status, kind)
        assert await asyncio.wait_for(reader.read(), 3) == b""


async def test_requests_that_wait_on_a_connection_are_bounded(connect: Connect) -> None:
    slow = GET.replace(b" / ", b" /slow ")
    async with connect() as (reader, writer):
        writer.write(slow + GET * 16)
        for _ in range(17):
            assert (await read_answer(reader)).body == b"0"
        writer.write(slow + GET * 5_000)
        for _ in range(17):
            assert (await read_answer(reader)).body == b"0"
        assert "16" in check_problem(await read_answer(reader), 400, "malformed-request")
        assert await asyncio.wait_for(reader.read(), 3) == b""


@pytest.mark.parametrize("protocol", ["websocket", "h2c"])
async def test_upgrade_is_ignored_in_silence(connect: Connect, protocol: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "uvicorn.error")
    asked = f"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n".encode()
    async with connect() as (reader, writer):
        writer.write(asked + asked + GET)
        for _ in range(3):
            assert (await read_answer(reader)).body == b"0"
        writer.write(GET)
        assert (await read_answer(reader)).body == b"0"
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_malformed_requests_leave_no_warning(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    """Anybody can send them, as often as they like."""
    await refused(connect, b"nonsense\r\n\r\n", 400, "malformed-request")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_monitoring_port_answers_with_problems(
    free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ready() -> dict[str, bool]:
        return {}

    async with connections(free_port(), monkeypatch, monitoring_app(ready)) as connect:
        await refused(connect, b"nonsense\r\n\r\n", 400, "malformed-request")
        async with connect() as (reader, writer):
            writer.write(GET.replace(b" / ", b" /none "))
            answer = await read_answer(reader)
            assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")
