"""Roles that start again alone when they crash, where a process has more to lose than one of them.

In the process of a single service a crash of a role ends the process, which its supervisor starts again (`process.py`).
"""

import asyncio
import time

import structlog

from services.chassis.errors import CannotStart
from services.chassis.runtime.process import Role, Unstoppable
from services.chassis.runtime.telemetry import ROLE_RESTARTS
from services.chassis.runtime.waiting import backoff_seconds, cancelled, sleep_unless_set

log = structlog.get_logger(__name__)

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
STEADY_SECONDS = 60.0  # a role that ran for so long has the first pause again


class Restarting:
    """Runs a role, and again after a pause that grows when it crashes or ends before it is stopped.

    Attributes:
        running: whether it runs; false while it waits after a crash.
    """

    def __init__(self, role: Role) -> None:
        self._role = role
        self.running = True
        ROLE_RESTARTS.labels(role.name)

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set.

        Raises:
            CannotStart: the settings cannot work for this role; another start would not help.
            Unstoppable: the role has left work behind that another start would run beside.
        """
        crashes = 0
        while True:
            began, self.running = time.monotonic(), True
            error = await self._crash(stop)
            if error is None:
                return
            self.running = False
            crashes = 1 if time.monotonic() - began > STEADY_SECONDS else crashes + 1
            pause = backoff_seconds(crashes, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
            ROLE_RESTARTS.labels(self._role.name).inc()
            said = {"role": self._role.name, "error": str(error) or repr(error), "again_in_seconds": pause}
            log.critical("a role crashed", **said, exc_info=error)
            if await sleep_unless_set(stop, pause):
                return

    async def _crash(self, stop: asyncio.Event) -> BaseException | None:
        """Run the role once; return what it crashed of, None after an orderly end."""
        try:
            await self._role.run(stop)
        except (CannotStart, Unstoppable):
            raise
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and cancelled():
                raise
            return error
        return None if stop.is_set() else RuntimeError("the role ended before it was stopped")
