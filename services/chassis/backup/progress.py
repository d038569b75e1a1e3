"""Progress of what takes longer than a few seconds: rows and rate, on standard error."""

import sys
import time

SAY_EVERY_SECONDS = 3.0


class Progress:
    """Says now and then how many rows are done and how fast.

    Args:
        what: who does what, such as `posts: written`.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._part = ""
        self._rows = 0
        self._began = self._said = time.monotonic()

    def begin(self, part: str) -> None:
        """Name what is worked on from now on, such as a table."""
        self._part = f" (at {part})"

    def add(self, rows: int) -> None:
        """Count rows, and say so if nothing was said for a while."""
        self._rows += rows
        now = time.monotonic()
        if now - self._said > SAY_EVERY_SECONDS:
            self._said = now
            sys.stderr.write(
                f"{self._what}: {self._rows:,} rows{self._part}, {self._rows / (now - self._began):,.0f}/s\n"
            )
            sys.stderr.flush()

    @property
    def seconds(self) -> float:
        """Return how long it took up to now."""
        return round(time.monotonic() - self._began, 1)
