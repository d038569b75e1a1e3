"""Progress and waiting of commands that go batch by batch: what is repeated until a service says that it is done."""

import asyncio
import sys
import time
from collections.abc import Callable

from services.operator.failures import Failed
from services.operator.moments import counted

PAUSE_SECONDS = 0.25
SAY_EVERY_SECONDS = 2.0


def say(sentence: str) -> None:
    """Print a sentence beside the result."""
    sys.stderr.write(f"{sentence}\n")
    sys.stderr.flush()


class Batches:
    """Says now and then how far a command is and how fast, and waits for a relay that has enough to do.

    Args:
        noun: what is counted.
        resume: the option that goes on after the last batch, for the operator.
        patience: seconds to wait for a relay that sends nothing.
    """

    def __init__(
        self, service: str, noun: str, resume: Callable[[], str], patience: float, tell: Callable[[str], object] = say
    ) -> None:
        self.count = 0
        self._service = service
        self._noun = noun
        self._resume = resume
        self._patience = patience
        self._tell = tell
        self._began = self._said = self._moved = time.monotonic()

    @property
    def seconds(self) -> float:
        """Return how long it took up to now."""
        return time.monotonic() - self._began

    def add(self, count: int) -> None:
        """Count a batch that is done, and say so if nothing was said for a while."""
        self.count += count
        self._moved = now = time.monotonic()
        if now - self._said > SAY_EVERY_SECONDS:
            self._said = now
            rate = self.count / max(self.seconds, 0.001)
            self._tell(f"{self._service}: {counted(self.count, self._noun)}, {rate:,.0f}/s; {self._resume()}")

    async def wait(self) -> None:
        """Wait a moment, because the relay has enough to do.

        Raises:
            Failed: the relay did nothing for as long as the command is patient.
        """
        if time.monotonic() - self._moved > self._patience:
            raise Failed(
                f"The relay of {self._service} sent nothing for {self._patience:g} s: see that it and Kafka run, then "
                f"repeat the command with {self._resume()}."
            )
        await asyncio.sleep(PAUSE_SECONDS)
