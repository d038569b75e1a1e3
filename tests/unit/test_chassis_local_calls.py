"""Calls to services in the same process behave as calls over a socket do."""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import Any

import pytest

from services.chassis.client.client import ServiceClient, within
from services.chassis.client.connection_pool import Origin
from services.chassis.client.local_calls import LocalCalls, LocalService
from services.chassis.errors import Problem
from services.chassis.identity import Caller, Signer, Verifier
from services.chassis.runtime.context import Context, bound, current, service, working_as

ORDERS = Origin("orders", 80)
OF_THE_CALLER: ContextVar[str] = ContextVar("of_the_caller", default="nothing")


def local(app: Any) -> LocalCalls:
    with working_as("orders"):
        return LocalCalls({"orders": LocalService(app, copy_context())})


async def answer(send: Any, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body[:2], "more_body": True})
    await send({"type": "http.response.body", "body": body[2:]})


async def test_the_application_gets_the_request_that_its_server_would_show_it() -> None:
    seen: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.update(scope, message=await receive())
        await answer(send, 201, b"made", (b"Location", b"/orders/1"))

    headers = {"Authorization": "Bearer x", "Idempotency-Key": "a: b"}
    response = await local(app).request(ORDERS, "POST", "/orders/a%2Fb%20c?x=1%202&y=", headers, b"{}")
    assert (response.status, response.data, response.headers["location"]) == (201, b"made", "/orders/1")
    assert (seen["method"], seen["path"], seen["raw_path"]) == ("POST", "/orders/a/b c", b"/orders/a%2Fb%20c")
    assert seen["query_string"] == b"x=1%202&y="
    assert dict(seen["headers"]) == {
        b"host": b"orders:80",
        b"authorization": b"Bearer x",
        b"idempotency-key": b"a: b",
        b"content-length": b"2",
    }
    assert seen["message"] == {"type": "http.request", "body": b"{}", "more_body": False}


async def test_the_application_works_as_its_service_and_knows_nothing_of_the_caller() -> None:
    seen: list[object] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.extend([service(), current(), OF_THE_CALLER.get()])
        await answer(send, 200, b"ok")

    calls = local(app)
    OF_THE_CALLER.set("a secret")
    with working_as("bills"), bound(Context("a request")):
        await calls.request(ORDERS, "GET", "/", {}, None)
        assert service() == "bills"
    assert seen == ["orders", Context(), "nothing"]


@pytest.mark.parametrize("header", ["a\r\nX-Role: admin", "a\0"])
async def test_a_header_cannot_bring_another(header: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        await local(None).request(ORDERS, "GET", "/", {"Idempotency-Key": header}, None)


async def test_a_caller_that_gives_up_is_a_client_that_has_gone() -> None:
    """What the service has begun it finishes, as behind a socket, and it can know that nobody waits."""
    seen: list[Any] = []
    begun, go_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        begun.set()
        seen.append(await receive())
        await go_on.wait()
        await answer(send, 200, b"late")
        ended.set()

    calls = local(app)
    call = asyncio.create_task(calls.request(ORDERS, "POST", "/", {}, b""))
    await begun.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    closing = asyncio.create_task(calls.close())
    go_on.set()
    await closing
    assert ended.is_set()
    assert seen == [{"type": "http.disconnect"}]
    with pytest.raises(ConnectionRefusedError):
        await calls.request(ORDERS, "GET", "/", {}, None)


async def fails(scope: Any, receive: Any, send: Any) -> None:
    raise LookupError("a bug")


async def breaks_off(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise LookupError("a bug")


async def says_nothing(scope: Any, receive: Any, send: Any) -> None:
    return


async def test_an_application_that_fails_is_a_service_that_fails() -> None:
    assert (await local(fails).request(ORDERS, "GET", "/", {}, None)).status == 500
    for app in (breaks_off, says_nothing):
        with pytest.raises(ConnectionError):
            await local(app).request(ORDERS, "GET", "/", {}, None)
    with pytest.raises(ConnectionRefusedError):
        await local(fails).request(Origin("bills", 80), "GET", "/", {}, None)


async def test_a_client_keeps_token_deadline_and_circuit_breaker(
    keys: dict[str, str], signer: Callable[[str], Signer]
) -> None:
    slow, callers = asyncio.Event(), []
    verifier = Verifier(keys["VERIFICATION_KEYS"], "orders")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        callers.append(verifier.verify(headers[b"authorization"].decode().removeprefix("Bearer ")))
        assert 0 < float(headers[b"x-deadline-seconds"]) < 5
        if scope["path"] == "/slow":
            await slow.wait()
        if scope["path"] == "/broken":
            raise LookupError("a bug")
        await answer(send, 200, b"[1]")

    client = ServiceClient("http://orders", "orders", signer("gateway"), connections=local(app))
    assert (await client.call("GET", "/", deadline=within(5))).json() == [1]
    assert callers == [Caller("gateway")]
    with pytest.raises(Problem, match="in time"):
        await client.call("GET", "/slow", deadline=within(0.2))
    for _ in range(3):  # with what went before, five calls of which four failed
        with pytest.raises(Problem, match="failed to answer"):
            await client.call("GET", "/broken", deadline=within(5))
    asked = len(callers)
    with pytest.raises(Problem, match="is not answering"):
        await client.call("GET", "/", deadline=within(5))
    assert len(callers) == asked
    slow.set()
