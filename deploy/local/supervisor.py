"""Supervision of processes: restart with back-off, report, and stop in order.

Everything happens in the main thread, because the kernel ends children with the thread that started them.
"""

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.processes import LOG_BYTES, Identity, LocalError
from deploy.local.server import Server
from deploy.local.unit_state import HOPELESS, UnitState

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
STEADY_SECONDS = 60.0  # a process that ran this long restarts with the first pause again
SETTLE_SECONDS = 1.0  # ready for so long: the start is over
PROBE_SECONDS = 10.0  # between two checks that a ready process still is; it is unready after two in vain


@dataclass
class Unit:
    """One supervised process.

    Attributes:
        state, restarts, failures, ended_at, last_end, ended_from: see `UnitState`.
        ready_at: since when it is ready, None if it is not.
        began: where its log began for this process.
        missed: checks in a row at which it was not ready any more.
    """

    server: Server
    state: str = "stopped"
    restarts: int = 0
    failures: int = 0
    was_ready: bool = False
    ready_at: float | None = None
    started_at: float = 0.0
    next_start: float = 0.0
    probed_at: float = 0.0
    missed: int = 0
    began: int = 0
    ended_at: float = 0.0
    last_end: str = ""
    ended_from: int = 0

    @property
    def name(self) -> str:
        return self.server.name

    @property
    def pid(self) -> int | None:
        return self.server.process.pid if self.server.process and self.server.alive else None

    def now(self) -> UnitState:
        """Return its state at this moment. What ended again and again has to stay ready for a steady time."""
        moment = STEADY_SECONDS if self.failures >= HOPELESS else SETTLE_SECONDS
        return UnitState(
            name=self.name,
            state=self.state,
            pid=self.pid,
            port=self.server.port,
            restarts=self.restarts,
            failures=self.failures,
            settled_at=None if self.ready_at is None else self.ready_at + moment,
            ended_at=self.ended_at,
            last_end=self.last_end,
            ended_from=self.ended_from,
            log=str(self.server.log),
        )


@dataclass
class Supervisor:
    """The supervised processes, and the loop over them.

    Attributes:
        run_folder: the folder of the processes' identities, which the clean-up after a crash reads.
        say: prints one line for the user.
        changed: called after every change of a state.
        starting: whether a process that ends again and again still ends the start; later it is started for ever.
    """

    run_folder: Path
    say: Callable[[str], None]
    changed: Callable[[], None] = lambda: None
    units: list[Unit] = field(default_factory=list)
    starting: bool = True

    def add(self, *servers: Server) -> None:
        """Start processes and supervise them from now on."""
        for server in servers:
            unit = Unit(server)
            self.units.append(unit)
            self._launch(unit)

    def _launch(self, unit: Unit) -> None:
        unit.started_at = time.monotonic()
        unit.state = "starting"
        unit.ready_at, unit.missed = None, 0
        size = unit.server.log.stat().st_size if unit.server.log.exists() else 0
        unit.began = size if size <= LOG_BYTES else 0  # `spawn` begins a new file then
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
            LocalError: a unit ended again and again while everything starts, or before it was ever ready.
        """
        now = time.monotonic()
        for unit in self.units:
            if unit.state == "waiting":
                if now >= unit.next_start:
                    unit.restarts += 1
                    self._launch(unit)
            elif not unit.server.alive:
                self._ended(unit, now)
            elif unit.state == "ready":
                self._probe(unit, now)
            elif unit.state in ("starting", "unready") and unit.server.ready():
                unit.state = "ready"
                unit.ready_at = unit.probed_at = now
                if unit.was_ready:
                    self.say(f"{unit.name} is ready again")
                unit.was_ready = True
                self.changed()

    def _probe(self, unit: Unit, now: float) -> None:
        """Check now and then that a ready process still is."""
        if now - unit.probed_at < PROBE_SECONDS:
            return
        unit.probed_at = now
        unit.missed = 0 if unit.server.ready() else unit.missed + 1
        if unit.missed >= 2:
            self.say(f"{unit.name} runs but is not ready any more (see {unit.server.log})")
            unit.state, unit.ready_at, unit.missed = "unready", None, 0
            self.changed()

    def _ended(self, unit: Unit, now: float) -> None:
        unit.server.sweep()
        process = unit.server.process
        code = process.returncode if process else None
        unit.failures = 1 if now - unit.started_at > STEADY_SECONDS else unit.failures + 1
        unit.last_end = signal.Signals(-code).name if code and code < 0 else f"status {code}"
        unit.ended_at, unit.ended_from, unit.ready_at = time.time(), unit.began, None
        pause = min(FIRST_PAUSE * 2 ** (unit.failures - 1), LONGEST_PAUSE)
        unit.state = "waiting"
        unit.next_start = now + pause
        self.changed()
        if unit.failures >= HOPELESS and (self.starting or not unit.was_ready):
            raise LocalError(unit.now().failure())
        how = f"was killed by {unit.last_end}" if code and code < 0 else f"ended with {unit.last_end}"
        self.say(f"{unit.name} {how}; restarting in {pause:g} s (see {unit.server.log})")

    def wait_ready(self, names: Sequence[str], seconds: float) -> None:
        """Supervise until all these units are ready.

        Raises:
            LocalError: one of them is not ready in time, or ends again and again.
        """
        deadline = time.monotonic() + seconds
        while waited := [unit for unit in self.units if unit.name in names and unit.state != "ready"]:
            self._pass(waited, deadline, f"ready after {seconds:g} s")

    def settle(self, seconds: float) -> None:
        """Supervise until every unit is ready, has stayed so for a moment, and says so once more.

        Raises:
            LocalError: one of them is not so in time, or ends again and again.
        """
        deadline = time.monotonic() + seconds
        while True:
            now = time.monotonic()
            waited = [unit for unit in self.units if not unit.now().settled(now)]
            if not waited:
                waited = [unit for unit in self.units if not unit.server.ready()]
                if not waited:
                    return
                for unit in waited:
                    unit.ready_at = now
            self._pass(waited, deadline, f"steadily ready after {seconds:g} s")

    def _pass(self, waited: Sequence[Unit], deadline: float, what: str) -> None:
        """Supervise for a moment.

        Raises:
            LocalError: the time of the units that are waited for is over.
        """
        if time.monotonic() > deadline:
            late = waited[0]
            raise LocalError(f"{late.name} is not {what}.\n{late.now().failure()}")
        self.tick()
        time.sleep(0.05)

    def watch(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Supervise until a stop signal.

        Args:
            meanwhile: is called in each pass.
        """
        self.starting = False
        while True:
            try:
                self.tick()
            except (LocalError, OSError) as error:  # for example a full disk: running processes stay running
                self.say(str(error))
                time.sleep(LONGEST_PAUSE)
            meanwhile()
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
