"""Circuit breaker: stop calling an upstream that fails, and probe it with one call at a time.

Closed: all calls pass and their outcomes are counted over a rolling window. When at least `min_calls` calls ended in
the window and the failures among them reach `ratio`, it opens, but only at a call that fails. Open: no call passes for
`open_seconds`. Then half-open: one call passes as a probe; its success closes the breaker and clears the window, its
failure opens it again. What counts as a failure is decided in `client.py`.
"""

import time
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Literal

from services.chassis.runtime.metrics import Gauge

State = Literal["closed", "half-open", "open"]

STATE = Gauge("rapport_breaker_state", "0 closed, 1 half-open, 2 open.", ["upstream", "purpose"])
LEVEL: dict[State, int] = {"closed": 0, "half-open": 1, "open": 2}


class Admission(Enum):
    """Whether a call may be made, and as what."""

    REFUSED = "refused"
    NORMAL = "normal"
    PROBE = "probe"


class CircuitBreaker:
    """The breaker of one upstream, for one event loop.

    Args:
        upstream, purpose: whom is called and what for, in metrics.
        window: seconds for which an outcome counts.
        open_seconds: seconds between opening and the first probe.
    """

    def __init__(
        self,
        upstream: str,
        purpose: str = "calls",
        *,
        window: float = 10.0,
        min_calls: int = 5,
        ratio: float = 0.5,
        open_seconds: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._window, self._min_calls, self._ratio = window, min_calls, ratio
        self._open_seconds = open_seconds
        self._clock = clock
        self._outcomes: deque[tuple[float, bool]] = deque()
        self._failures = 0
        self._opened_at: float | None = None
        self._probing = False
        STATE.labels(upstream, purpose).set_function(lambda: LEVEL[self.state])

    @property
    def state(self) -> State:
        """Return the present state."""
        if self._opened_at is None:
            return "closed"
        return "half-open" if self._probing or self._clock() - self._opened_at >= self._open_seconds else "open"

    @property
    def retry_after(self) -> int:
        """Return the whole seconds until the next probe, at least one."""
        if self._opened_at is None:
            return 1
        return max(1, round(self._opened_at + self._open_seconds - self._clock() + 0.5))

    def admit(self) -> Admission:
        """Return whether a call may be made now.

        The outcome of each call that is not refused must be recorded exactly once: `record(admission, ...)`.
        """
        if self._opened_at is None:
            return Admission.NORMAL
        if self._probing or self._clock() - self._opened_at < self._open_seconds:
            return Admission.REFUSED
        self._probing = True
        return Admission.PROBE

    def record(self, admission: Admission, ok: bool | None) -> None:
        """Record how an admitted call ended; `ok` is None if that says nothing about the upstream (a cancellation)."""
        if admission is Admission.PROBE:
            self._probing = False
            if ok:
                self._opened_at = None
                self._outcomes.clear()
                self._failures = 0
            elif ok is False:
                self._opened_at = self._clock()
        elif ok is not None and self._opened_at is None:
            self._count(ok)

    def _count(self, ok: bool) -> None:
        now = self._clock()
        self._outcomes.append((now, ok))
        self._failures += not ok
        while self._outcomes and self._outcomes[0][0] <= now - self._window:
            self._failures -= not self._outcomes.popleft()[1]
        total = len(self._outcomes)
        if not ok and total >= self._min_calls and self._failures >= self._ratio * total:
            self._opened_at = now
