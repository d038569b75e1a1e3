"""A process: its roles, its signals, its shutdown.

A service's `__main__.py` is its composition root: `compose` builds the wanted roles, `main` runs them.

SIGTERM or SIGINT makes the process unready and stops its roles: first those that accept work, then those with
`stops_last` (the relay, the monitoring port). After `drain_seconds` the process ends in any case. A role that crashes,
or ends before it is stopped, ends the process with status 1.
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
from types import MappingProxyType
from typing import Any, NoReturn

import structlog
import uvloop

from services.chassis.errors import CannotStart
from services.chassis.runtime.context import working_as
from services.chassis.runtime.heartbeat import beat
from services.chassis.runtime.memory import trimming
from services.chassis.runtime.settings import Settings
from services.chassis.runtime.telemetry import set_up_logging, tell_version
from services.chassis.runtime.waiting import cancelled

log = structlog.get_logger(__name__)

# New objects before the young ones are searched for circles, 700 by default; a request makes hundreds, and hardly any
# circle.
COLLECT_AFTER = 10_000


@dataclass(frozen=True)
class Role:
    """A long-running part of a process. `run` works until the event it is given is set, and then ends in order.

    Attributes:
        stops_last: it is stopped only after all other roles have ended.
        app: the ASGI application that it serves, for callers in the same process.
    """

    name: str
    run: Callable[[asyncio.Event], Awaitable[None]]
    stops_last: bool = False
    app: Any = None


class Unstoppable(Exception):
    """Work of a role ignores its cancellation; only the end of the process ends it."""


@dataclass(frozen=True)
class OneShot:
    """Work of a process that ends by itself.

    Attributes:
        usage: its arguments, for the message about a wrong use.
        run: gets the arguments; returns the exit status. None: the arguments are wrong.
    """

    usage: str
    run: Callable[[Sequence[str]], Awaitable[int | None]]


class Health:
    """The readiness of a process, or of one of several services in it.

    Args:
        whole: that of the process, of which this is a part: both drain at once.
    """

    def __init__(self, whole: "Health | None" = None) -> None:
        self._whole = whole
        self._draining = False
        self._checks: dict[str, Callable[[], Awaitable[bool]]] = {}

    @property
    def draining(self) -> bool:
        """Return whether no more work is to be given to it."""
        return self._draining or (self._whole is not None and self._whole.draining)

    def drain(self) -> None:
        """Become unready for good."""
        self._draining = True

    def add(self, name: str, check: Callable[[], Awaitable[bool]]) -> None:
        """Add a check of a dependency. A check that raises or takes more than 2 s has failed."""
        self._checks[name] = check

    async def ready(self) -> Mapping[str, bool]:
        """Return the outcome of every check, and `running`: false once the process drains."""
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
    one_shots: Mapping[str, OneShot] = MappingProxyType({}),
    default: str = "",
) -> None:
    """Run the role named on the command line and exit: 0 after an orderly stop, 1 after a crash, 2 for a wrong name.

    A setting that cannot work ends it with 2 too, and with the sentence of `CannotStart`: on standard error, or in the
    log if a role that runs has found it.

    Args:
        compose: builds the wanted roles, in a context that closes their shared resources.
        migrate: the work of the role `migrate`.
        one_shots: roles with arguments that end by themselves, by name.
        default: the role that is run if the command line names none.
    """
    known = (*roles, "all", *(("migrate",) if migrate else ()))
    name, arguments = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else (default, [])
    if name not in one_shots and (name not in known or arguments):
        _exit_for_wrong_use(service, known, one_shots)
    faulthandler.enable()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # each connection is a file; the usual 1,024 are too few
    set_up_logging(service, settings.log_level)
    with working_as(service), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        tell_version(service)
        try:
            if name == "migrate" and migrate:
                runner.run(_once(migrate))
                return
            if name in one_shots:
                ended = runner.run(_status_of(one_shots[name], arguments))
                if ended is None:
                    _exit_for_wrong_use(service, known, one_shots)
                sys.exit(ended)
            wanted = tuple(roles) if name == "all" else (name,)
            status = runner.run(run(wanted, compose, settings))
        except CannotStart as refusal:
            sys.stderr.write(f"{refusal}\n")
            status = 2
    sys.exit(status)


def _exit_for_wrong_use(service: str, known: Sequence[str], one_shots: Mapping[str, OneShot]) -> NoReturn:
    uses = ["|".join(known), *(f"{name} {one.usage}" for name, one in one_shots.items())]
    sys.stderr.write("".join(f"usage: python -m services.{service} {use}\n" for use in uses))
    sys.exit(2)


async def _status_of(one: OneShot, arguments: Sequence[str]) -> int | None:
    return await one.run(arguments)


async def _once(work: Callable[[], Awaitable[object]]) -> None:
    await work()


async def run(wanted: Collection[str], compose: Compose, settings: Settings) -> int:
    """Run the wanted roles until a signal comes or one of them crashes; return the exit status.

    Raises:
        CannotStart: the settings cannot work for these roles.
    """
    shutdown = _Shutdown(settings.drain_seconds)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, shutdown.begin, number.name)
    heartbeat = asyncio.create_task(beat())
    try:
        async with compose(wanted, shutdown.health) as roles, trimming():
            gc.freeze()  # objects of the start live as long as the process; no collection needs to visit them
            gc.set_threshold(COLLECT_AFTER)
            log.info("started", roles=[role.name for role in roles])
            async with asyncio.TaskGroup() as group:
                first = [group.create_task(shutdown.run_role(role)) for role in roles if not role.stops_last]
                for role in roles:
                    if role.stops_last:
                        group.create_task(shutdown.run_role(role))
                await shutdown.stop.wait()
                if first:
                    await asyncio.wait(first)
                shutdown.stop_last.set()
    except CannotStart:
        raise
    except Exception:
        log.critical("startup or shutdown failed", exc_info=True)
        shutdown.crashed = True
    finally:
        heartbeat.cancel()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    log.info("ended", crashed=shutdown.crashed)
    shutdown.finish()
    return shutdown.status


class _Shutdown:
    """The shutdown of a process, begun by a signal or a crash, with a deadline kept by a thread."""

    def __init__(self, drain_seconds: float) -> None:
        self.health = Health()
        self.stop = asyncio.Event()
        self.stop_last = asyncio.Event()
        self.crashed = False
        self.cannot_work = False
        self._deadline = threading.Timer(drain_seconds, self._abort)
        self._deadline.daemon = True
        self._seconds = drain_seconds

    @property
    def status(self) -> int:
        """Return the exit status of the process."""
        if self.cannot_work:
            return 2
        return 1 if self.crashed else 0

    def begin(self, why: str) -> None:
        if not self.stop.is_set():
            log.info("stopping", why=why, within_seconds=self._seconds)
            self.health.drain()
            self._deadline.start()
            self.stop.set()

    def finish(self) -> None:
        self._deadline.cancel()

    def _abort(self) -> None:
        log.critical("the drain took too long; ending now", seconds=self._seconds)
        faulthandler.dump_traceback(all_threads=True)
        os._exit(1)

    async def run_role(self, role: Role) -> None:
        """Run a role. If it crashes or ends before it is stopped, shut down the process."""
        stop = self.stop_last if role.stops_last else self.stop
        try:
            await role.run(stop)
            if not stop.is_set():
                raise RuntimeError("the role ended before it was stopped")
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and cancelled():
                raise
            self.crashed = True
            trace = not isinstance(error, CannotStart)  # whose message says it all
            self.cannot_work = self.cannot_work or not trace
            log.critical("a role crashed", role=role.name, error=str(error) or repr(error), exc_info=trace)
            self.begin(f"{role.name} crashed")
