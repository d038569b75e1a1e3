"""The throttle delays a round that would begin too early, and no other."""

import pytest

from services.chassis.runtime import throttle
from services.chassis.runtime.throttle import Throttle


class Clock:
    """A fake clock that advances only in `sleep`."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


async def test_rounds_begin_at_most_every_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(throttle, "time", clock)
    monkeypatch.setattr(throttle, "asyncio", clock)  # the loop's own may have tasks of other tests, which sleep in it
    throttled, begun = Throttle(0.5), []
    for busy in (0.0, 0.1, 0.0, 0.7, 3.0):
        await throttled.wait()
        begun.append(clock.now)
        clock.now += busy
    await throttled.wait()
    begun.append(clock.now)
    assert begun == pytest.approx([100.0, 100.5, 101.0, 101.5, 102.2, 105.2])
