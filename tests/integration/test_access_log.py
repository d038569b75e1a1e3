"""A line in the log for each request: what the app answers, what is ready as bytes, and no secret in either."""

from collections.abc import Callable
from typing import Any

import httpx2
import orjson
import pytest
from starlette.types import Receive, Scope, Send

from services.chassis.http.access_log import AccessLog
from services.gateway.app import create_app
from tests.integration.gateway_harness import ANNA, SLUG, GatewayHarness, always_ready
from tests.integration.server_harness import GET, connections, read_answer
from tests.integration.test_chassis_server_ready import READY, find_ready

SECRET = "t" * 43


class Lines(list[dict[str, Any]]):
    def write(self, lines: bytes) -> None:
        assert lines.endswith(b"\n")
        self.extend(orjson.loads(line) for line in lines.splitlines())


async def test_all_answers_of_a_server_have_a_line_before_it_ends(
    free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = Lines()
    log = AccessLog("gateway", lines.write)
    async with (
        connections(free_port(), monkeypatch, find_ready=find_ready, access_log=log) as connect,
        connect() as (reader, writer),
    ):
        for request in (READY, READY.replace(b"/ready", b"/ready?x=secret"), GET):
            writer.write(request)
            await read_answer(reader)
    assert [(line["method"], line["path"], line["status"]) for line in lines] == [
        ("GET", "/ready", 200),
        ("GET", "", 200),  # of an app that does not tell its routes
        ("GET", "", 200),
    ]
    for line in lines:
        assert (line["message"], line["level"], line["service"]) == ("request", "info", "gateway")
        assert line["time"].endswith("Z")
        assert 0 <= line["seconds"] < 5
        assert line.keys() <= {
            "message", "level", "logger", "service", "time", "method", "path", "status", "seconds", "request_id"
        }  # fmt: skip


async def test_paths_are_those_of_routes_or_of_what_everybody_reads(harness: GatewayHarness) -> None:
    lines = Lines()
    log = AccessLog("gateway", lines.write)
    app = log.around_app(create_app(harness.gateway, always_ready))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://rapport.test") as http:
        for _ in range(2):  # the second time from the cache
            await http.get(f"/posts/{SLUG}")
        for path in (
            f"/sign-in/{SECRET}",
            f"/unsubscribe/{SECRET}",
            f"/nothing/{SECRET}",
            f"/v1/people/{ANNA}?x={SECRET}",
        ):
            await http.get(path)
        await http.options(f"/v1/{SECRET}", headers={"Origin": "https://x.test"})
    log.flush()
    paths = [line["path"] for line in lines]
    assert paths[1] == f"/posts/{SLUG}"
    assert paths[2] == "/sign-in/{token}"
    assert paths[4] == "unmatched"
    assert SECRET not in repr(lines)
    assert all(line["request_id"] for line in lines)


async def test_a_request_that_fails_has_its_line_too() -> None:
    lines = Lines()
    log = AccessLog("gateway", lines.write)

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("broken")

    transport = httpx2.ASGITransport(log.around_app(broken))
    async with httpx2.AsyncClient(transport=transport, base_url="http://rapport.test") as http:
        with pytest.raises(ValueError, match="broken"):
            await http.get("/")
    log.flush()
    log.flush()
    assert [line["status"] for line in lines] == [0]
