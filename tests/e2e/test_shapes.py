"""The story over one process for everything, and over one process for each role: the same data, one after the other."""

import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.client import Client
from tests.e2e.test_story import play_the_story
from tests.servers import Servers
from tests.smtp_sink import SmtpSink
from tests.stack import ONE, SERVICES, Shape, Stack


@pytest.fixture(scope="module")
async def prepared(servers: Servers, sink: SmtpSink, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    folder: Path = tmp_path_factory.mktemp("shapes")
    stack = Stack(servers, folder, sink.port, f"shapes{folder.parent.name[-6:]}".replace("-", "_"))
    try:
        await stack.prepare()
        yield stack
    finally:
        stack.down()
        await stack.drop()


@pytest.mark.parametrize("shape", ["one", "roles"])
async def test_the_story_in_as_many_processes(prepared: Stack, sink: SmtpSink, shape: Shape) -> None:
    if shape == "one":  # one of the four relays crashes while the story is played, and starts again alone
        await prepared.start(ONE, failpoints="relay.read:40:raise")
    else:
        await prepared.up_as(shape)
    try:
        async with Client(prepared.url, sink) as client:
            admin = await client.sign_in("Ada Admin", "admin@example.com")
            anna, ben = [await client.sign_in(name, f"{name}.{shape}@example.com") for name in ("Anna", "Ben")]
            await play_the_story(client, sink, admin, anna, ben)
        if shape == "one":
            assert await _each_service_tells_of_itself(prepared) == 1
    finally:
        for part in prepared.parts.values():
            part.process.send_signal(signal.SIGTERM)
        for part in prepared.parts.values():
            part.process.wait(30)
            assert part.process.returncode == 0, part.tail()
        prepared.parts.clear()


async def _each_service_tells_of_itself(stack: Stack) -> float:
    """Check that what each service has done stands at its own metrics port, under its name.

    Returns:
        How many roles were started again.
    """
    (process,) = stack.parts.values()
    assert process.service == ONE
    shown: dict[str, str] = {}
    async with aiohttp.ClientSession() as session:
        for service, port in zip(SERVICES, process.metrics_ports, strict=True):
            async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
                shown[service] = await answer.text()
    posted = 'rapport_http_requests_total{method="POST",route="/comments/batch"'
    for service, text in shown.items():
        assert f'rapport_build_info{{service="{service}"' in text
        assert [line for line in text.splitlines() if re.search(rf'service="(?!{service}")', line)] == []
        assert (posted in text) == (service == "comments"), service
        assert "rapport_loop_lag_seconds" in text
    restarts = re.findall(r"^rapport_role_restarts_total\{.*\} (.*)$", "".join(shown.values()), re.MULTILINE)
    return sum(map(float, restarts))
