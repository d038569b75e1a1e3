"""A role that crashes starts again alone."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from unittest.mock import MagicMock

import pytest
from prometheus_client import REGISTRY

from services.chassis.errors import CannotStart
from services.chassis.messaging import consumer
from services.chassis.messaging.handlers import Handlers
from services.chassis.messaging.watchdog import Stalled
from services.chassis.runtime import restarting
from services.chassis.runtime.process import Role, Unstoppable
from services.chassis.runtime.restarting import Restarting
from services.chassis.runtime.settings import Settings
from services.contracts.topics import PEOPLE
from tests.waiting import eventually

Run = Callable[[asyncio.Event], Awaitable[None]]


def restarts(role: str) -> float | None:
    return REGISTRY.get_sample_value("rapport_role_restarts_total", {"role": role})


async def raises() -> None:
    raise ValueError("broken")


async def cancels_itself() -> None:
    raise asyncio.CancelledError


async def ends() -> None:
    return


@pytest.mark.parametrize("way", [raises, cancels_itself, ends])
async def test_a_crashed_role_runs_again_until_it_is_stopped(
    way: Callable[[], Awaitable[None]], monkeypatch: pytest.MonkeyPatch, unique: str
) -> None:
    monkeypatch.setattr(restarting, "FIRST_PAUSE_SECONDS", 0.01)
    runs: list[bool] = []

    async def run(stop: asyncio.Event) -> None:
        runs.append(role.running)
        if len(runs) < 3:
            await way()
        else:
            await stop.wait()

    role, stop = Restarting(Role(unique, run)), asyncio.Event()
    assert restarts(unique) == 0  # there from the start, so that an increase is seen
    task = asyncio.create_task(role.run(stop))
    await eventually(lambda: len(runs) == 3)
    stop.set()
    await task
    assert runs == [True, True, True]
    assert restarts(unique) == 2


async def test_a_role_that_waits_after_a_crash_does_not_run_and_can_be_stopped(unique: str) -> None:
    async def run(_: asyncio.Event) -> None:
        raise ValueError("broken")

    role, stop = Restarting(Role(unique, run)), asyncio.Event()
    task = asyncio.create_task(role.run(stop))
    await eventually(lambda: not role.running)
    stop.set()
    await task
    assert restarts(unique) == 1


async def test_pauses_grow_until_a_role_has_run_for_long(monkeypatch: pytest.MonkeyPatch, unique: str) -> None:
    pauses: list[float] = []

    async def sleep(_: asyncio.Event, seconds: float) -> bool:
        pauses.append(seconds)
        if len(pauses) == 8:
            monkeypatch.setattr(restarting, "STEADY_SECONDS", -1.0)
        return len(pauses) == 9

    async def run(_: asyncio.Event) -> None:
        raise ValueError("broken")

    monkeypatch.setattr(restarting, "sleep_unless_set", sleep)
    await Restarting(Role(unique, run)).run(asyncio.Event())
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 0.5]


@pytest.mark.parametrize("error", [CannotStart("DATABASE_POOLER is not set."), Unstoppable("it goes on")])
async def test_what_another_start_does_not_help_ends_the_process(error: Exception, unique: str) -> None:
    async def run(_: asyncio.Event) -> None:
        raise error

    with pytest.raises(type(error)):
        await Restarting(Role(unique, run)).run(asyncio.Event())


async def test_a_consumer_whose_work_ignores_its_cancellation_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else another run would handle the same records beside it."""
    monkeypatch.setattr(consumer, "SHUTDOWN_SECONDS", 0.01)
    go_on = asyncio.Event()

    async def ignores(_: asyncio.Event) -> None:
        while not go_on.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await go_on.wait()

    async def stalls(*_: object, **__: object) -> None:
        raise Stalled("nothing has moved")

    stuck = consumer.Consumer("comments", [PEOPLE], Handlers(), MagicMock(), Settings())
    monkeypatch.setattr(stuck, "_consume", ignores)
    monkeypatch.setattr(stuck._watchdog, "run", stalls)
    with pytest.raises(Unstoppable, match="comments ignores its cancellation"):
        await stuck.run(asyncio.Event())
    go_on.set()
