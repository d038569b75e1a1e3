"""The people service as real processes: its roles, and a mailer that is killed at critical points."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from services.chassis.identity import Signer
from tests.integration.people_harness import ADMIN, Harness, opened
from tests.smtp_sink import SmtpSink
from tests.waiting import eventually

FreePort = Callable[[], int]


@pytest.fixture
async def harness(new_database: Callable[..., Awaitable[Any]], keys: dict[str, str]) -> AsyncIterator[Harness]:
    async with opened(new_database, keys) as harness:
        yield harness


@asynccontextmanager
async def running(role: str, environment: Mapping[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a process inside the block; end it by SIGTERM at the latest."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "services.people", role),
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(30):
            await process.wait()


def environment(harness: Harness, sink: SmtpSink, free_port: FreePort) -> dict[str, str]:
    return {
        **harness.keys,
        "PEOPLE_DATABASE_URL": harness.url,
        "PEOPLE_PORT": str(free_port()),
        "PEOPLE_METRICS_PORT": str(free_port()),
        "SMTP_PORT": str(sink.port),
        "PUBLIC_URL": "https://rapport.test",
        "ADMIN_EMAILS": ADMIN,
        "MAIL_FROM": "Rapport <mail@rapport.test>",
        "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}",
        "RATE_LIMITS": "off",
    }


async def test_signing_in_works_while_kafka_is_down(harness: Harness, smtp_sink: SmtpSink, free_port: FreePort) -> None:
    variables = environment(harness, smtp_sink, free_port)
    token = Signer(harness.keys["GATEWAY_SIGNING_KEY"], "gateway").token("people")
    async with (
        running("all", variables) as process,
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as client,
    ):

        async def only_the_relay_is_not_ready() -> bool:
            try:
                async with client.get(f"http://127.0.0.1:{variables['PEOPLE_METRICS_PORT']}/readyz") as answer:
                    parts = (await answer.json())["parts"]
            except aiohttp.ClientError:
                return False
            return bool(parts == {"running": True, "database": True, "migrations": True, "relay": False})

        await eventually(only_the_relay_is_not_ready, timeout=30)
        base = f"http://127.0.0.1:{variables['PEOPLE_PORT']}"
        async with client.post(f"{base}/people", json={"name": "Root", "email": ADMIN}) as answer:
            assert answer.status == 202
        (mail,) = await smtp_sink.wait_for(1)
        link = re.findall(r"https://rapport\.test/sign-in/(\S+)", mail.text)
        async with client.post(f"{base}/sessions", json={"token": link[0]}) as answer:
            assert answer.status == 201
            assert (await answer.json())["person"]["roles"] == ["reader", "admin"]
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


@pytest.mark.parametrize(("point", "mails"), [("mailer.claimed", 1), ("mailer.dot", 2), ("mailer.sent", 2)])
async def test_a_killed_mailer_loses_nothing_and_sends_no_link_twice(
    harness: Harness, smtp_sink: SmtpSink, free_port: FreePort, point: str, mails: int
) -> None:
    variables = environment(harness, smtp_sink, free_port)
    await harness.call("POST", "/people", {"name": "Ana", "email": "ana@example.com"})
    async with running("mailer", variables | {"FAILPOINTS": point}) as process:
        assert await process.wait() == -signal.SIGKILL
    assert await harness.value("select outcome from sign_in_requests") is None
    await harness.change("update sign_in_requests set next_attempt_at = now()")
    async with running("mailer", variables):
        await smtp_sink.wait_for(mails, 30)
        await eventually(lambda: harness.value("select outcome = 'sent' from sign_in_requests"))
    links = [re.findall(r"https://rapport\.test/sign-in/(\S+)", mail.text)[0] for mail in smtp_sink.messages]
    assert len(links) == len(set(links)) == mails
    assert (await harness.call("POST", "/sessions", {"token": links[0]})).status_code == 201
    assert [(await harness.call("POST", "/sessions", {"token": link})).status_code for link in links] == [410] * mails
