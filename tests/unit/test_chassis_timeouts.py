"""Timeouts that hold even if the work suppresses its cancellation."""

import asyncio
import time

import pytest

from services.chassis.runtime.timeouts import wait_at_most


async def test_result_or_error_is_passed_on() -> None:
    async def seven() -> int:
        await asyncio.sleep(0)
        return 7

    async def fails() -> None:
        raise ValueError("no")

    assert await wait_at_most(1, seven()) == 7
    with pytest.raises(ValueError, match="no"):
        await wait_at_most(1, fails())


async def test_an_event_ends_the_wait() -> None:
    stop, before = asyncio.Event(), asyncio.all_tasks()
    waiting = asyncio.create_task(wait_at_most(60, asyncio.sleep(60), unless=stop))
    await asyncio.sleep(0)
    stop.set()
    with pytest.raises(TimeoutError, match="nobody waits"):
        await asyncio.wait_for(waiting, 2)
    assert await wait_at_most(60, asyncio.sleep(0, 7), unless=asyncio.Event()) == 7
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_escaped_cancellation_is_an_error() -> None:
    """Else it would end the caller as if the caller were cancelled."""

    async def careless() -> None:
        inner = asyncio.ensure_future(asyncio.sleep(60))
        inner.cancel()
        await inner

    with pytest.raises(ConnectionAbortedError):
        await wait_at_most(1, careless())


async def test_timeout_holds_when_the_cancellation_is_suppressed() -> None:
    """`asyncio.timeout` would wait for ever."""
    release = asyncio.Event()
    cancelled = 0

    async def stubborn() -> None:
        nonlocal cancelled
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                cancelled += 1
        raise ValueError("never retrieved")

    before = asyncio.all_tasks()
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await wait_at_most(0.05, stubborn())
    outer = asyncio.create_task(wait_at_most(60, stubborn()))
    await asyncio.sleep(0.05)
    outer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await outer
    assert time.monotonic() - began < 2
    assert cancelled == 2
    release.set()
    await asyncio.sleep(0.05)
    assert asyncio.all_tasks() == before
