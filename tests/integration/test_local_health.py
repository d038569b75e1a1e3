"""The health checks of the containers, run by bash against the real servers."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from services.chassis.http.monitoring import monitoring
from tests.servers import free_port
from tests.waiting import eventually

SCRIPTS = Path(__file__).parent.parent.parent / "deploy/health"


async def status(script: str, port: int) -> int:
    command = ["bash", str(SCRIPTS / script), str(port)]
    return (await asyncio.to_thread(subprocess.run, command, capture_output=True)).returncode


@pytest.fixture
async def process() -> AsyncIterator[tuple[int, Callable[[bool], None]]]:
    """Yield the monitoring port of a process, and what says whether it is ready."""
    parts = {"database": True}

    async def ready() -> dict[str, bool]:
        return parts

    port, stop = free_port(), asyncio.Event()
    serving = asyncio.ensure_future(monitoring(ready, "127.0.0.1", port).run(stop))
    yield port, lambda value: parts.update(database=value)
    stop.set()
    await serving


async def test_a_process_is_healthy_when_it_is_ready(process: tuple[int, Callable[[bool], None]]) -> None:
    port, set_ready = process

    async def healthy() -> bool:
        return await status("ready.sh", port) == 0

    await eventually(healthy)
    set_ready(False)
    assert await status("ready.sh", port) != 0
    set_ready(True)
    assert await healthy()


async def test_nobody_there_is_not_healthy() -> None:
    for script in ("ready.sh", "kafka.sh"):
        assert await status(script, free_port()) != 0


async def test_a_broker_that_lists_itself_is_healthy(kafka: str, process: tuple[int, Callable[[bool], None]]) -> None:
    assert await status("kafka.sh", int(kafka.rpartition(":")[2])) == 0
    assert await status("kafka.sh", process[0]) != 0  # a port that is open proves nothing
