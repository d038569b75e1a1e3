"""A process: the roles it plays, its signals, its end.

A service's `__main__.py` is its composition root: `compose` builds the wanted roles, `main` runs them. See any of them.

SIGTERM or SIGINT turns readiness red and asks the roles to stop: first those that take work in, then the `last` ones
(the relay), which carry away what the first left. After `drain_seconds` the process ends in any case. A role that
crashes, or ends unasked, ends the process with status 1.
"""

import asyncio
import faulthandler
import gc
import os
import resource
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import structlog
import uvloop

from services.chassis.runtime.heartbeat import beat
from services.chassis.runtime.settings import Settings
from services.chassis.runtime.telemetry import set_up_logging

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Role:
    """A long piece of work. `run` works until the event it is given is set, and then comes to an orderly end.

    Attributes:
        last: it is asked to stop only after all others have ended.
    """

    name: str
    run: Callable[[asyncio.Event], Awaitable[None]]
    last: bool = False


class Health:
    """Whether this process should be given work."""

    def __init__(self) -> None:
        self.draining = False
        self._checks: dict[str, Callable[[], Awaitable[bool]]] = {}

    def add(self, name: str, check: Callable[[], Awaitable[bool]]) -> None:
        """Name one thing that must be well. A check that raises or takes more than 2 s has failed."""
        self._checks[name] = check

    async def ready(self) -> Mapping[str, bool]:
        """The outcome of every check, and `running`: false once the process drains."""
        outcomes = await asyncio.gather(*(_checked(check) for check in self._checks.values()))
        return {"running": not self.draining, **dict(zip(self._checks, outcomes, strict=True))}


async def _checked(check: Callable[[], Awaitable[bool]]) -> bool:
    try:
        async with asyncio.timeout(2):
            return await check()
    except Exception:
        return False


Compose = Callable[[Collection[str], Health], AbstractAsyncContextManager[Sequence[Role]]]


def main(
    service: str,
    settings: Settings,
    *,
    roles: Sequence[str],
    compose: Compose,
    migrate: Callable[[], Awaitable[object]] | None = None,
) -> None:
    """Run the role named on the command line and exit: 0 after an orderly stop, 1 after a crash, 2 for a wrong name.

    Args:
        compose: builds the wanted roles, in a context that closes what they share.
        migrate: what the role `migrate` does.
    """
    known = (*roles, "all", *(("migrate",) if migrate else ()))
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    if name not in known:
        sys.stderr.write(f"usage: python -m services.{service} {'|'.join(known)}\n")
        sys.exit(2)
    faulthandler.enable()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # each connection is a file; the usual 1,024 are few
    set_up_logging(service, settings.log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if name == "migrate" and migrate:
            runner.run(_once(migrate))
            return
        wanted = tuple(roles) if name == "all" else (name,)
        status = runner.run(run(wanted, compose, settings))
    sys.exit(status)


async def _once(work: Callable[[], Awaitable[object]]) -> None:
    await work()


async def run(wanted: Collection[str], compose: Compose, settings: Settings) -> int:
    """Play the wanted roles until a signal comes or one of them crashes; returns the exit status."""
    ending = _Ending(settings.drain_seconds)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.begin, number.name)
    health = ending.health
    heart = asyncio.create_task(beat())
    try:
        async with compose(wanted, health) as roles:
            gc.freeze()  # what a start leaves behind lives as long as the process
            log.info("started", roles=[role.name for role in roles])
            async with asyncio.TaskGroup() as group:
                first = [group.create_task(ending.guard(role)) for role in roles if not role.last]
                for role in roles:
                    if role.last:
                        group.create_task(ending.guard(role))
                await ending.stop.wait()
                await asyncio.wait(first) if first else None
                ending.stop_last.set()
    except Exception:
        log.critical("the process could not be put together or taken apart", exc_info=True)
        ending.crashed = True
    finally:
        heart.cancel()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    log.info("ended", crashed=ending.crashed)
    ending.over()
    return 1 if ending.crashed else 0


class _Ending:
    """The end of a process: asked for by a signal or by a crash, and bounded by a thread that nothing can hold up."""

    def __init__(self, drain_seconds: float) -> None:
        self.health = Health()
        self.stop = asyncio.Event()
        self.stop_last = asyncio.Event()
        self.crashed = False
        self._deadline = threading.Timer(drain_seconds, self._too_late)
        self._deadline.daemon = True
        self._seconds = drain_seconds

    def begin(self, why: str) -> None:
        if not self.stop.is_set():
            log.info("stopping", why=why, within_seconds=self._seconds)
            self.health.draining = True
            self._deadline.start()
            self.stop.set()

    def over(self) -> None:
        self._deadline.cancel()

    def _too_late(self) -> None:
        log.critical("the drain took too long; ending now", seconds=self._seconds)
        faulthandler.dump_traceback(all_threads=True)
        os._exit(1)

    async def guard(self, role: Role) -> None:
        """Run a role. If it crashes or ends unasked, the others are asked to stop, and so the process ends."""
        stop = self.stop_last if role.last else self.stop
        try:
            await role.run(stop)
            if not stop.is_set():
                raise RuntimeError("it ended although nobody had asked it to")
        except (Exception, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise  # otherwise nobody asked for it: a cancellation that escaped from somewhere is a crash too
            self.crashed = True
            log.critical("a role crashed", role=role.name, error=str(error) or repr(error), exc_info=True)
            self.begin(f"{role.name} crashed")
