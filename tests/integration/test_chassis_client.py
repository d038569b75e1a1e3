"""Calls between two services over real sockets, also to a misbehaving upstream."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated
from uuid import uuid4

import pytest
import uvicorn
from fastapi import APIRouter, Request
from starlette.responses import Response

from services.chassis.client.circuit_breaker import CircuitBreaker
from services.chassis.client.client import ServiceClient, within
from services.chassis.client.connection_pool import ConnectionPool
from services.chassis.errors import FieldError, Problem, unavailable
from services.chassis.http.app import create_app
from services.chassis.http.routes import StrictRoute, allow, json_response
from services.chassis.identity import Caller, Signer, Verifier
from services.chassis.runtime.context import Context, bound, current
from services.operator.keys import generate_keys

KEYS = generate_keys()
GATEWAY = Signer(KEYS["GATEWAY_SIGNING_KEY"], "gateway")
PERSON = Caller("people", uuid4(), frozenset({"author"}), uuid4())
Gateway = Annotated[Caller, allow("gateway")]
echoes = APIRouter(route_class=StrictRoute)


@echoes.get("/echo/{text}")
async def echo(request: Request, text: str, caller: Gateway) -> Response:
    here = current()
    return json_response(
        {
            "text": text,
            "query": dict(request.query_params),
            "person": caller.person_id,
            "roles": sorted(caller.roles),
            "session": caller.session_id,
            "request_id": here.correlation_id,
            "traceparent": here.traceparent,
            "seconds": None if here.deadline is None else here.deadline - time.monotonic(),
            "if_match": request.headers.get("if-match"),
        }
    )


@echoes.post("/fail/{kind}")
async def fail(kind: str, caller: Gateway) -> Response:
    if kind == "unavailable":
        raise unavailable("The database has no free connection.", 7)
    raise Problem(kind, "So it is.", errors=[FieldError("body.text", "is wrong")], headers={"Retry-After": "3"})


@echoes.get("/slow")
async def slow(caller: Gateway) -> Response:
    await asyncio.sleep(30)
    return json_response(None)


async def ready() -> dict[str, bool]:
    return {}


@pytest.fixture(scope="module")
async def url() -> AsyncIterator[str]:
    app = create_app("echo", verifier=Verifier(KEYS["VERIFICATION_KEYS"], "echo"), ready=ready, body_limit=1000)
    app.include_router(echoes)
    server = uvicorn.Server(uvicorn.Config(app, port=0, access_log=False, log_level="critical", lifespan="off"))
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup()
    port = server.servers[0].sockets[0].getsockname()[1]
    ticking = asyncio.create_task(server.main_loop())
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    await ticking
    server.force_exit = True
    await server.shutdown()


@asynccontextmanager
async def client(url: str, breaker: CircuitBreaker | None = None) -> AsyncIterator[ServiceClient]:
    async with ConnectionPool() as connections:
        service = ServiceClient(url, "echo", GATEWAY, connections=connections)
        service.breaker = breaker or service.breaker
        yield service


Script = Callable[[int, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def scripted(script: Script) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Yield a server that reads the head of the n-th request and then runs the script, and the list of heads."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                heads.append(head)
                await script(len(heads), reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client or the script has disconnected
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heads
    finally:
        server.close()


def reply(status: str, body: bytes = b"{}", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def disconnect(_: int, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    raise ConnectionResetError


async def test_person_and_context_are_passed_on(url: str) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with client(url) as service:
        with bound(Context(correlation_id="request-1", traceparent=trace)):
            answer = await service.call(
                "GET",
                "/echo/hi",
                caller=PERSON,
                params={"a": "1 &=ü", "b": 2, "c": None},
                headers={"If-Match": '"1-x"'},
                deadline=within(5),
            )
    received = answer.json()
    assert answer.status == 200
    assert received["query"] == {"a": "1 &=ü", "b": "2"}
    assert (received["person"], received["roles"]) == (str(PERSON.person_id), ["author"])
    assert received["session"] is None, "the session of an access token is not passed on"
    assert received["request_id"] == "request-1"
    assert received["traceparent"].split("-")[1] == trace.split("-")[1]
    assert received["traceparent"] != trace
    assert received["if_match"] == '"1-x"'


@pytest.mark.parametrize("text", ["a b", "ä", "a?b=c", "a#b", "100%", "%41", "a&b", "a+b", "...", "a:b@c", "a;b"])
async def test_value_in_the_path_is_unchanged(url: str, text: str) -> None:
    async with client(url) as service:
        answer = await service.call("GET", f"/echo/{text}", deadline=within(5))
    assert answer.json()["text"] == text
    assert answer.json()["query"] == {}


@pytest.mark.parametrize("path", ["/echo/..", "/echo/../fail", "/./echo"])
async def test_path_with_dot_segments_is_not_found(url: str, path: str) -> None:
    async with client(url) as service:
        with pytest.raises(Problem, match="not-found"):
            await service.call("GET", path, deadline=within(5))


async def test_problem_of_the_upstream_is_returned(url: str) -> None:
    async with client(url) as service:
        answer = await service.call("POST", "/fail/invalid", body={}, deadline=within(5))
        problem = answer.problem()
        assert answer.status == 422
        assert problem is not None
        assert (problem.kind, problem.detail) == ("invalid", "So it is.")
        assert problem.errors == (FieldError("body.text", "is wrong"),)
        assert problem.headers == {"Retry-After": "3"}
        assert (await service.call("GET", "/echo/x", deadline=within(5))).problem() is None
        assert service.breaker.state == "closed"


async def test_503_with_retry_after_is_passed_on_and_no_failure(url: str) -> None:
    async with client(url) as service:
        for _ in range(20):
            with pytest.raises(Problem) as raised:
                await service.call("POST", "/fail/unavailable", body={}, deadline=within(5))
        assert raised.value.headers == {"Retry-After": "7"}
        assert raised.value.detail == "The database has no free connection."
        assert service.breaker.state == "closed"


async def test_deadline_ends_the_call(url: str) -> None:
    async with client(url) as service:
        began = time.monotonic()
        with pytest.raises(Problem, match="unavailable"):
            await service.call("GET", "/slow", deadline=within(0.1))
        assert time.monotonic() - began < 5
        with pytest.raises(Problem, match="unavailable"):
            await service.call("GET", "/echo/x", deadline=within(-1))


async def test_the_service_knows_how_long_its_answer_is_waited_for(url: str) -> None:
    """A little less, so that its own refusal arrives in time."""
    async with client(url) as service:
        for seconds in (0.5, 2.0, 60.0):
            answer = await service.call("GET", "/echo/x", deadline=within(seconds))
            assert 0.5 * seconds < answer.json()["seconds"] <= 0.9 * seconds


async def test_short_timeouts_do_not_open_the_breaker(url: str) -> None:
    """Else a client that chooses its deadline could cut an upstream off for all others."""
    async with client(url) as service:
        for seconds in [-1.0] * 10 + [0.01] * 10:
            with pytest.raises(Problem, match="unavailable"):
                await service.call("GET", "/slow", deadline=within(seconds))
        assert service.breaker.state == "closed"


async def test_failures_open_the_breaker_and_a_success_closes_it() -> None:
    """An open breaker makes no calls."""

    async def script(number: int, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply("500 No" if number <= 5 else "200 OK"))

    clock = [0.0]
    breaker = CircuitBreaker("echo-opening", min_calls=5, open_seconds=2, clock=lambda: clock[0])
    async with scripted(script) as (url, heads), client(url, breaker) as service:
        for _ in range(5):
            with pytest.raises(Problem) as raised:
                await service.call("GET", "/x", deadline=within(5))
            assert raised.value.headers == {"Retry-After": "1"}
        with pytest.raises(Problem) as raised:
            await service.call("GET", "/x", deadline=within(5))
        assert raised.value.headers["Retry-After"] in ("2", "3")
        assert len(heads) == 5, "an open breaker makes no calls"
        clock[0] += 2
        assert (await service.call("GET", "/x", deadline=within(5))).status == 200
        assert breaker.state == "closed"


async def test_unreachable_upstream_is_unavailable(free_port: Callable[[], int]) -> None:
    async with client(f"http://127.0.0.1:{free_port()}") as service:
        for _ in range(5):
            with pytest.raises(Problem, match="unavailable"):
                await service.call("POST", "/x", body={}, deadline=within(5))
        assert service.breaker.state == "open"


async def test_get_is_retried_once_after_a_broken_connection() -> None:
    async def script(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if number == 1:
            await disconnect(number, reader, writer)
        writer.write(reply("200 OK"))

    async with scripted(script) as (url, heads), client(url) as service:
        assert (await service.call("GET", "/x", deadline=within(5))).status == 200
        assert len(heads) == 2
    async with scripted(disconnect) as (url, heads), client(url) as service:
        with pytest.raises(Problem, match="unavailable"):
            await service.call("GET", "/x", deadline=within(5))
        assert len(heads) == 2


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
async def test_writes_are_not_retried(method: str) -> None:
    async with scripted(disconnect) as (url, heads), client(url) as service:
        with pytest.raises(Problem, match="unavailable"):
            await service.call(method, "/x", deadline=within(5))
        assert len(heads) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_broken_response_is_unavailable(answer: bytes) -> None:
    async def script(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()
        raise ConnectionResetError

    async with scripted(script) as (url, _), client(url) as service:
        with pytest.raises(Problem, match="unavailable"):
            await service.call("POST", "/x", deadline=within(5))


@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", b'{"type": "/problems/never-heard-of", "detail": "x"}', b'{"type": 5}']
)
async def test_error_without_problem_details_is_an_internal_problem(body: bytes) -> None:
    async def script(_: int, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply("418 Teapot", body))

    async with scripted(script) as (url, _), client(url) as service:
        problem = (await service.call("GET", "/x", deadline=within(5))).problem()
    assert problem is not None
    assert problem.kind == "internal"


async def test_redirects_are_not_followed() -> None:
    async def script(_: int, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply("302 Found", b"", "Location: http://evil.example/"))

    async with scripted(script) as (url, heads), client(url) as service:
        assert (await service.call("GET", "/x", deadline=within(5))).status == 302
        assert len(heads) == 1


async def test_cancelled_calls_do_not_open_the_breaker(url: str) -> None:
    async with client(url) as service:
        for _ in range(10):
            call = asyncio.create_task(service.call("GET", "/slow", deadline=within(30)))
            await asyncio.sleep(0)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        assert service.breaker.state == "closed"


async def test_clients_share_the_pool_of_the_process(url: str) -> None:
    async with ConnectionPool() as connections:
        both = [ServiceClient(url, "echo", GATEWAY, connections=connections) for _ in range(2)]
        for service in both:
            assert (await service.call("GET", "/echo/x", deadline=within(5))).status == 200
        assert len(connections._open) == 1, "the second client uses the connection of the first"


async def exchange(url: str, request: bytes) -> bytes:
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    try:
        async with asyncio.timeout(5):
            return await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.close()


async def test_too_large_body_is_refused_before_it_is_read(url: str) -> None:
    """The rest of the body is never sent."""
    head = f"POST /echo/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {GATEWAY.token('echo')}\r\n"
    wrong_method = await exchange(url, head.encode() + b"Content-Length: 99999\r\n\r\n")
    assert b" 405 " in wrong_method.split(b"\r\n")[0]
    head = head.replace("/echo/x", "/fail/invalid")
    too_large = await exchange(url, head.encode() + b"Content-Length: 99999\r\n\r\nxx")
    assert b" 413 " in too_large.split(b"\r\n")[0]
    assert b"connection: close" in too_large.lower()


async def test_head_request_keeps_the_request_id(url: str) -> None:
    answer = await exchange(url, b"HEAD /livez HTTP/1.1\r\nHost: x\r\nX-Request-ID: mine\r\nConnection: close\r\n\r\n")
    assert b" 200 " in answer.split(b"\r\n")[0]
    assert b"x-request-id: mine" in answer.lower()
