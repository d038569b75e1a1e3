"""Supervision of processes: restart with back-off, report, and stop in order.

Everything happens in the main thread, because the kernel ends children with the thread that started them.
"""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.processes import Identity, LocalError, tail
from deploy.local.server import Server

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
STEADY_SECONDS = 60.0  # a process that ran this long restarts with the first pause again
HOPELESS = 4  # failures before a process was ever ready, after which the start is given up


class Stopped(BaseException):
    """A stop signal has arrived."""


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Raise `Stopped` at SIGTERM or SIGINT inside the block, once; ignore them outside."""

    def stop(*_: object) -> None:
        ignore()
        raise Stopped

    def ignore() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    try:
        yield
    except Stopped:
        return
    finally:
        ignore()


@dataclass
class Unit:
    """One supervised process.

    Attributes:
        state: `stopped`, `starting`, `ready`, or `waiting` for a restart.
        restarts: number of restarts since the supervisor started.
        failures: failures in a row without a steady time between them.
    """

    server: Server
    state: str = "stopped"
    restarts: int = 0
    failures: int = 0
    was_ready: bool = False
    started_at: float = 0.0
    next_start: float = 0.0

    @property
    def name(self) -> str:
        return self.server.name

    @property
    def pid(self) -> int | None:
        return self.server.process.pid if self.server.process and self.server.alive else None


@dataclass
class Supervisor:
    """The supervised processes, and the loop over them.

    Attributes:
        run_folder: the folder of the processes' identities, which the clean-up after a crash reads.
        say: prints one line for the user.
        changed: called after every change of a state.
    """

    run_folder: Path
    say: Callable[[str], None]
    changed: Callable[[], None] = lambda: None
    units: list[Unit] = field(default_factory=list)

    def add(self, *servers: Server) -> None:
        """Start processes and supervise them from now on."""
        for server in servers:
            unit = Unit(server)
            self.units.append(unit)
            self._launch(unit)

    def _launch(self, unit: Unit) -> None:
        unit.started_at = time.monotonic()
        unit.state = "starting"
        self.changed()  # before what may take long, such as the first download of Kafka
        unit.server.launch()
        assert unit.server.process is not None
        identity = Identity.of(unit.server.process.pid)
        if identity is not None:
            identity.save(self.run_folder / f"{unit.name}.json")
        self.changed()

    def tick(self) -> None:
        """Check every unit once and act on its state.

        Raises:
            LocalError: a unit ended repeatedly before it was ever ready.
        """
        now = time.monotonic()
        for unit in self.units:
            if unit.state == "waiting":
                if now >= unit.next_start:
                    unit.restarts += 1
                    self._launch(unit)
            elif not unit.server.alive:
                self._ended(unit, now)
            elif unit.state == "starting" and unit.server.ready():
                unit.state = "ready"
                if unit.was_ready:
                    self.say(f"{unit.name} is ready again")
                unit.was_ready = True
                self.changed()

    def _ended(self, unit: Unit, now: float) -> None:
        unit.server.sweep()
        process = unit.server.process
        code = process.returncode if process else None
        unit.failures = 1 if now - unit.started_at > STEADY_SECONDS else unit.failures + 1
        if not unit.was_ready and unit.failures >= HOPELESS:
            raise LocalError(
                f"{unit.name} ended {unit.failures} times before it was ready. "
                f"The end of {unit.server.log}:\n{tail(unit.server.log)}"
            )
        pause = min(FIRST_PAUSE * 2 ** (unit.failures - 1), LONGEST_PAUSE)
        how = f"was killed by {signal.Signals(-code).name}" if code and code < 0 else f"ended with status {code}"
        self.say(f"{unit.name} {how}; restarting in {pause:g} s (see {unit.server.log})")
        unit.state = "waiting"
        unit.next_start = now + pause
        self.changed()

    def wait_ready(self, names: Sequence[str], seconds: float) -> None:
        """Supervise until all these units are ready.

        Raises:
            LocalError: one of them is not ready in time.
        """
        deadline = time.monotonic() + seconds
        while waited := [unit for unit in self.units if unit.name in names and unit.state != "ready"]:
            if time.monotonic() > deadline:
                late = waited[0]
                raise LocalError(
                    f"{late.name} is not ready after {seconds:g} s. "
                    f"The end of {late.server.log}:\n{tail(late.server.log)}"
                )
            self.tick()
            time.sleep(0.05)

    def watch(self) -> None:
        """Supervise until a stop signal."""
        while True:
            try:
                self.tick()
            except (LocalError, OSError) as error:  # for example a full disk: running processes stay running
                self.say(str(error))
                time.sleep(LONGEST_PAUSE)
            time.sleep(0.2)

    def stop(self, *groups: Sequence[str]) -> None:
        """Stop the named units, one group after the other and all of a group together, then all others."""
        everything = [unit.name for unit in self.units]
        for group in (*groups, everything):
            units = [unit for unit in self.units if unit.name in group and unit.state != "stopped"]
            alive = [unit for unit in units if unit.server.alive]
            if alive:
                self.say("stopping " + ", ".join(unit.name for unit in alive))
            for unit in alive:
                assert unit.server.process is not None
                unit.server.process.send_signal(unit.server.stop_signal)
            for unit in units:
                unit.server.finish()
                unit.state = "stopped"
                (self.run_folder / f"{unit.name}.json").unlink(missing_ok=True)
                self.changed()
