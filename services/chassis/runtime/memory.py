"""Give memory back to the operating system after a load: the C library keeps what is freed."""

import asyncio
import ctypes
import re
import time
from collections.abc import Callable
from pathlib import Path

from services.chassis.runtime.waiting import Periodic

RESIDENT = re.compile(r"^VmRSS:\s+(\d+) kB", re.MULTILINE)
GROWTH = 1.05
BUSY_SHARE = 0.5  # of a core: what is given back under load is soon needed again
LOOK_SECONDS = 20.0


def resident_kilobytes() -> int:
    """Return the memory that this process holds; 0 where the system does not tell."""
    try:
        found = RESIDENT.search(Path("/proc/self/status").read_text())
    except OSError:
        return 0
    return int(found[1]) if found else 0


def trim() -> None:
    """Return free pages to the system, if the C library can. Other threads of Python go on meanwhile."""
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if give_back is not None:
        give_back(0)


class Trimmer:
    """Trims the memory of a process that is quiet and holds more than it once did."""

    def __init__(
        self,
        resident: Callable[[], int] = resident_kilobytes,
        trim: Callable[[], None] = trim,
        used: Callable[[], float] = time.process_time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._resident, self._trim, self._used, self._clock = resident, trim, used, clock
        self._least = resident()
        self._seen = (clock(), used())

    async def look(self) -> None:
        """Trim in a thread, if there is reason to."""
        before, now = self._seen, (self._clock(), self._used())
        self._seen = now
        if now[1] - before[1] > BUSY_SHARE * (now[0] - before[0]):
            return
        if self._resident() > self._least * GROWTH:
            await asyncio.to_thread(self._trim)
        self._least = min(self._least, self._resident())


def trimming() -> Periodic:
    """Return the periodic work of a process."""
    return Periodic("give memory back", LOOK_SECONDS, Trimmer().look)
