"""Say a sentence about a lasting fault at most every 30 s, not at each attempt."""

import time
from collections.abc import Callable

SECONDS = 30.0


class Repetition:
    """Decides whether a sentence is said again: at most once in so many seconds, at once when it is another one."""

    def __init__(self, seconds: float = SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._last = ""
        self._due = 0.0

    def is_due(self, sentence: str) -> bool:
        """Return whether to say it now; if so, it counts as said."""
        now = self._clock()
        if sentence == self._last and now < self._due:
            return False
        self._last, self._due = sentence, now + self._seconds
        return True
