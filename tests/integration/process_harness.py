"""A minimal service for tests of processes: `python -m tests.integration.process_harness ROLE`, with `SCENARIO`."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import structlog

from services.chassis.http.monitoring import monitoring
from services.chassis.http.server import serve
from services.chassis.runtime import heartbeat, process
from services.chassis.runtime.process import Health, Role
from services.chassis.runtime.settings import Settings

log = structlog.get_logger(__name__)
SCENARIO = os.environ.get("SCENARIO", "")


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer `/slow` after half a second, any other path at once."""
    if scope["type"] != "http":
        raise RuntimeError("no lifespan")
    if scope["path"] == "/slow":
        await asyncio.sleep(0.5)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def wait(name: str, stop: asyncio.Event) -> None:
    await stop.wait()
    log.info("role ends", role=name)


async def crash(_: asyncio.Event) -> None:
    secret = "do not show this"  # noqa: F841  # no log may contain the value of a local variable
    raise ValueError("broken\nin two lines")


async def be_cancelled(_: asyncio.Event) -> None:
    raise asyncio.CancelledError


async def end_early(_: asyncio.Event) -> None:
    return


async def ignore(_: asyncio.Event) -> None:
    while True:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


async def block(_: asyncio.Event) -> None:
    heartbeat.STUCK_SECONDS = 2
    await asyncio.sleep(0.1)
    time.sleep(60)  # noqa: ASYNC251  # the test needs a stuck event loop


@asynccontextmanager
async def compose(settings: Settings, wanted: Collection[str], health: Health) -> AsyncIterator[list[Role]]:
    async def succeeds() -> bool:
        return SCENARIO != "unhealthy"

    async def raises() -> bool:
        raise ConnectionError

    health.add("database", raises if SCENARIO == "raises" else succeeds)
    roles = [
        monitoring(health.ready, "127.0.0.1", int(os.environ["METRICS_PORT"])),
        Role("relay", partial(wait, "relay"), stops_last=True),
    ]
    if "api" in wanted:
        roles.append(serve(app, "127.0.0.1", int(os.environ["HTTP_PORT"]), drain_seconds=settings.drain_seconds))
    if "consumer" in wanted:
        scenarios = {"crash": crash, "cancel": be_cancelled, "end": end_early, "ignore": ignore, "block": block}
        roles.append(Role("consumer", scenarios.get(SCENARIO, partial(wait, "consumer"))))
    try:
        yield roles
    finally:
        log.info("closed")


async def migrate() -> None:
    log.info("migrated")


if __name__ == "__main__":
    settings = Settings()
    process.main(
        "example",
        settings,
        roles=("api", "consumer"),
        compose=partial(compose, settings),
        migrate=migrate,
    )
