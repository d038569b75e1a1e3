"""How much of a service one person uses at the same time."""

import asyncio
import time
from typing import Any
from uuid import uuid4

import pytest

from services.chassis.client.client import ServiceResponse, within
from services.chassis.errors import Problem
from services.chassis.identity import Caller
from services.gateway.composition.upstreams import AT_ONCE, Shares, Upstream

ANN_ID = uuid4()
ANN, BOB, NOBODY = Caller("gateway", ANN_ID), Caller("gateway", uuid4()), Caller("gateway")


class Slow:
    """A service that answers when it is let go."""

    def __init__(self) -> None:
        self.asked: list[Caller | None] = []
        self.go_on = asyncio.Event()

    async def call(self, method: str, path: str, *, caller: Caller | None = None, **_: Any) -> ServiceResponse:
        self.asked.append(caller)
        await self.go_on.wait()
        return ServiceResponse(200, {}, b"{}")


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_burst_of_one_person_leaves_the_service_to_others() -> None:
    service = Slow()
    upstream = Upstream("slow", service, service)
    burst = [asyncio.create_task(upstream.send("POST", "/x", ANN, within(20))) for _ in range(30)]
    await settled()
    assert service.asked == [ANN] * AT_ONCE
    others = [asyncio.create_task(upstream.send("POST", "/x", who, within(20))) for who in (BOB, NOBODY, NOBODY)]
    reads = [asyncio.create_task(upstream.get("/x", ANN, within(20)))]
    await settled()
    assert service.asked[AT_ONCE:] == [BOB, NOBODY, NOBODY, ANN], "writes do not stop one's own reads either"
    service.go_on.set()
    await asyncio.gather(*burst, *others, *reads)
    assert service.asked.count(ANN) == 31


async def test_reads_are_shared_too() -> None:
    service = Slow()
    upstream = Upstream("slow", service, service)
    reads = [asyncio.create_task(upstream.get("/x", ANN, within(20))) for _ in range(10)]
    reads += [asyncio.create_task(upstream.look_up("/x", ANN, within(20), {})) for _ in range(10)]
    await settled()
    assert len(service.asked) == AT_ONCE
    service.go_on.set()
    await asyncio.gather(*reads)
    assert len(service.asked) == 20


async def test_who_waits_too_long_or_leaves_frees_the_place() -> None:
    shares, go_on = Shares(), asyncio.Event()

    async def use(deadline: float) -> None:
        await shares.enter(ANN_ID, deadline)
        try:
            await go_on.wait()
        finally:
            shares.leave(ANN_ID)

    first = [asyncio.create_task(use(within(20))) for _ in range(AT_ONCE)]
    await settled()
    began = time.monotonic()
    with pytest.raises(Problem, match="under way") as refusal:
        await use(within(0.05))
    assert time.monotonic() - began < 2
    assert (refusal.value.kind, refusal.value.headers["Retry-After"]) == ("unavailable", "1")
    waiting = asyncio.create_task(use(within(20)))
    await settled()
    waiting.cancel()
    first[0].cancel()
    await asyncio.gather(waiting, first[0], return_exceptions=True)
    go_on.set()
    await asyncio.gather(*first[1:], use(within(20)))
    assert not shares._under_way
    assert not shares._waiting


async def test_an_error_frees_the_place() -> None:
    class Failing(Slow):
        async def call(self, *_: Any, **__: Any) -> ServiceResponse:
            raise ValueError("no")

    upstream = Upstream("failing", Failing(), Failing())
    for _ in range(2 * AT_ONCE):
        with pytest.raises(ValueError, match="no"):
            await upstream.get("/x", ANN, within(1))
    assert not upstream.reads._under_way


async def test_a_turn_that_comes_when_nobody_waits_any_more_goes_on_to_the_next() -> None:
    shares = Shares()
    for _ in range(AT_ONCE):
        await shares.enter(ANN_ID, within(20))
    first, second = (asyncio.create_task(shares.enter(ANN_ID, within(20))) for _ in range(2))
    await settled()
    shares.leave(ANN_ID)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await asyncio.wait_for(second, 5)
    for _ in range(AT_ONCE):
        shares.leave(ANN_ID)
    assert not shares._under_way
