"""Calls to a service that is unavailable for a while, refuses, or does not accept the operator's key."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.chassis.errors import Problem
from services.chassis.identity import Signer, Verifier
from services.operator.calls import Services, connected
from services.operator.failures import Failed
from services.operator.settings import OperatorSettings

Script = list[tuple[int, dict[str, Any]]]
Start = Callable[[Script], Awaitable[str]]


def problem(kind: str, status: int, **more: Any) -> tuple[int, dict[str, Any]]:
    return status, {"type": f"/problems/{kind}", "title": kind, "status": status, "detail": f"It is {kind}."} | more


class Posts:
    """A stand-in for posts: returns the scripted answers in turn, the last one repeatedly."""

    def __init__(self, script: Script, verifier: Verifier) -> None:
        self.script = script
        self.verifier = verifier
        self.bodies: list[Any] = []
        self.callers: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.callers.append(self.verifier.verify(request.headers["Authorization"].removeprefix("Bearer ")).issuer)
        self.bodies.append(await request.json())
        status, body = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        headers = {"Retry-After": "1"} if status == 503 else {}
        return web.json_response(body, status=status, headers=headers)


@pytest.fixture
async def services(
    keys: dict[str, str],
) -> AsyncIterator[Callable[[Script], Awaitable[tuple[Services, Posts]]]]:
    opened: list[Any] = []

    async def start(script: Script) -> tuple[Services, Posts]:
        posts = Posts(script, Verifier(keys["VERIFICATION_KEYS"], "posts"))
        application = web.Application()
        application.router.add_post("/republish", posts.answer)
        server = TestServer(application)
        await server.start_server()
        settings = OperatorSettings(
            posts_url=str(server.make_url("")), operator_signing_key=keys["OPERATOR_SIGNING_KEY"], patience_seconds=2
        )
        context = connected(settings)
        opened.append((context, server))
        return await context.__aenter__(), posts

    yield start
    for context, server in opened:
        await context.__aexit__(None, None, None)
        await server.close()


async def test_an_unavailable_service_is_called_again_until_it_answers(services: Any) -> None:
    away = problem("unavailable", 503)
    connection, posts = await services([away, away, problem("internal", 500), (200, {"count": 7})])
    assert await connection.post("posts", "/republish", {"since": "x"}) == {"count": 7}
    assert posts.bodies == [{"since": "x"}] * 4
    assert set(posts.callers) == {"operator"}


async def test_retries_end_after_the_patience(services: Any) -> None:
    connection, posts = await services([problem("unavailable", 503)])
    with pytest.raises(Failed, match=r"posts was unavailable for 2 s: It is unavailable\."):
        await connection.post("posts", "/republish", {})
    assert len(posts.bodies) > 2


async def test_a_post_that_has_not_arrived_is_waited_for_and_a_missing_one_ends_with_a_sentence(services: Any) -> None:
    connection, posts = await services([problem("post-unknown", 404), (201, {"created": True})])
    assert await connection.post("posts", "/republish", {}) == {"created": True}
    posts.script = [problem("post-unknown", 404)]
    with pytest.raises(Failed, match=r"posts did not hear of a post within 2 s: see that .* repeat the command\."):
        await connection.post("posts", "/republish", {})


async def test_waiting_is_said_once(
    services: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.operator.calls.QUIET_SECONDS", 0.0)
    away = problem("unavailable", 503)
    connection, _ = await services([away, away, away, (200, {})])
    await connection.post("posts", "/republish", {})
    assert capsys.readouterr().err == "rapport: It is unavailable; trying again for 2 s.\n"


async def test_a_short_wait_is_not_worth_a_word(services: Any, capsys: pytest.CaptureFixture[str]) -> None:
    connection, _ = await services([problem("unavailable", 503), (200, {})])
    await connection.post("posts", "/republish", {})
    assert capsys.readouterr().err == ""


async def test_an_address_where_nobody_listens_is_said(
    keys: dict[str, str],
    free_port: Callable[[], int],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.operator.calls.QUIET_SECONDS", 0.0)
    settings = OperatorSettings(
        people_url=f"http://127.0.0.1:{free_port()}",
        operator_signing_key=keys["OPERATOR_SIGNING_KEY"],
        patience_seconds=0.5,
    )
    with pytest.raises(Failed, match="people was unavailable"):
        async with connected(settings) as connection:
            await connection.post("people", "/grants", {})
    assert capsys.readouterr().err == "rapport: people could not be reached; trying again for 0.5 s.\n"


async def test_a_refusal_is_not_repeated(services: Any) -> None:
    errors = [{"field": "since", "message": "is wrong"}]
    connection, posts = await services([problem("invalid", 422, errors=errors)])
    with pytest.raises(Problem) as refusal:
        await connection.post("posts", "/republish", {})
    assert refusal.value.errors[0].field == "since"
    assert len(posts.bodies) == 1


@pytest.mark.parametrize(("kind", "status"), [("invalid-token", 401), ("forbidden", 403)])
async def test_a_refused_key_ends_the_command(services: Any, kind: str, status: int) -> None:
    connection, posts = await services([problem(kind, status)])
    with pytest.raises(Failed, match="posts does not accept OPERATOR_SIGNING_KEY"):
        await connection.post("posts", "/republish", {})
    assert len(posts.bodies) == 1


@pytest.mark.parametrize("key", ["", "{}", "[]", "null", '{"kty": "OKP"}', "not json"])
async def test_an_invalid_key_is_reported(key: str) -> None:
    with pytest.raises(Failed, match="is invalid"):
        async with connected(OperatorSettings(operator_signing_key=key)):
            raise AssertionError("unreachable")


async def test_another_service_s_key_is_not_accepted(signer: Callable[[str], Signer], keys: dict[str, str]) -> None:
    assert signer("gateway").issuer == "gateway"
    with pytest.raises(Failed, match="is invalid"):
        async with connected(OperatorSettings(operator_signing_key=keys["GATEWAY_SIGNING_KEY"])):
            raise AssertionError("unreachable")
