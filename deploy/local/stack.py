"""The background process of `make up`: start the whole stack in order, supervise it, stop it in order."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field

from deploy.local import environment, forked, prepared, resources, units
from deploy.local.kafka_archive import MEMORY_MIB
from deploy.local.layout import CHECKOUT, SERVICES, Layout
from deploy.local.logs import say
from deploy.local.processes import Identity, LocalError, die_with
from deploy.local.stop_signals import Stopped, stoppable
from deploy.local.supervisor import Supervisor

SERVERS = ("mailbox", "kafka", "valkey", "postgres")  # in the order in which they are stopped
ARCHIVE_AFTER_SECONDS = 60.0  # when everything that comes with a start is over


@dataclass
class Stack:
    """All processes that `layout` needs, under one supervisor.

    Attributes:
        phase: `starting`, `ready`, `stopping`, `stopped` or `failed`; stored in `state.json`.
        log_begins: where in the log the lines of this start begin, for who follows it later.
        background: programs that end by themselves.
    """

    layout: Layout
    phase: str = "starting"
    log_begins: int = 0
    supervisor: Supervisor = field(init=False)
    given: dict[str, str] = field(init=False)
    background: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    archive_at: float | None = None

    def __post_init__(self) -> None:
        self.given = self.layout.kept() | {"ADMIN_EMAILS": environment.admin_emails(self.layout)}
        self.supervisor = Supervisor(self.layout.home / "run", say, self.write_state)

    def write_state(self) -> None:
        """Write the state for `up` and `status` atomically."""
        found = [asdict(unit.now()) for unit in self.supervisor.units]
        kept = {"phase": self.phase, "log_begins": self.log_begins, "given": self.given, "units": found}
        file = self.layout.home / "state.json"
        unfinished = file.with_suffix(".new")
        with contextlib.suppress(OSError):  # a full disk: the state is old until there is room again
            unfinished.write_text(json.dumps(kept))
            unfinished.replace(file)

    def enter(self, phase: str) -> None:
        self.phase = phase
        self.write_state()

    def run(self) -> int:
        """Start the stack, supervise it until a stop signal, stop it; return the exit status."""
        self.write_state()
        failed = False
        with stoppable():
            try:
                self.bring_up()
                say("everything is ready")
                self.enter("ready")
                self.archive_at = time.monotonic() + ARCHIVE_AFTER_SECONDS
                self.supervisor.watch(self.make_archive)
            except LocalError as error:
                say(str(error))
                failed = True
            except OSError as error:
                say(resources.disk_problem(self.layout, error))
                failed = True
            except Stopped:
                say("stopping")
        self.enter("stopping")
        for process in self.background:
            process.terminate()
        self.supervisor.stop(["gateway"], self.layout.processes, *([name] for name in SERVERS))
        for process in self.background:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)
        say("everything is stopped")
        self.enter("failed" if failed else "stopped")
        return 1 if failed else 0

    def bring_up(self) -> None:
        """Start servers and services, and make what the services need in the servers; as much as possible at once.

        Services wait for what they need by themselves, but none starts before its database has its migrations. They
        create the topics.

        Raises:
            LocalError: a step failed.
        """
        layout, supervisor = self.layout, self.supervisor
        if layout.has_given_servers:
            from deploy.local import checks  # much code, and only for them

            checks.check_given_servers(layout)
        servers = units.servers(layout, say)
        say("starting " + ", ".join(server.name for server in servers) if servers else "using the given servers")
        with ThreadPoolExecutor() as pool:  # none of these leaves a process
            keys = pool.submit(environment.keys, layout)
            list(pool.map(lambda server: server.set_up(), servers))
            keys.result()
        environment.write_for_operator(layout)
        supervisor.add(*servers)
        preparing = self.in_background("deploy.local", "prepare")
        if layout.processes == SERVICES:
            forked.load([f"services.{name}.__main__" for name in SERVICES])
        if not prepared.is_done(layout):
            self.finish(preparing)
        say("starting the services")
        supervisor.add(*(units.process(layout, name) for name in layout.processes))
        self.finish(preparing)
        supervisor.wait_ready([*SERVERS, *layout.processes], 120)
        supervisor.settle(120)

    def in_background(self, module: str, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start a program of ours that ends by itself; what it prints is shown to the user."""
        parent = os.getpid()
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=CHECKOUT,
            env={**self.layout.given, "RAPPORT_HOME": str(self.layout.home), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            preexec_fn=lambda: die_with(parent, signal.SIGTERM),
        )
        self.background.append(process)
        return process

    def make_archive(self) -> None:
        """Make the archive with which Kafka starts sooner, once and in the background; see `kafka_archive.py`."""
        if self.archive_at is None or time.monotonic() < self.archive_at:
            return
        self.archive_at = None
        there = not self.layout.needs_kafka or units.kafka(self.layout, say).archive.exists()
        if not there and resources.free_memory() > MEMORY_MIB * resources.MIB:
            self.in_background("deploy.local.kafka_archive")

    def finish(self, preparing: "subprocess.Popen[bytes]") -> None:
        """Supervise until the servers are prepared.

        Raises:
            LocalError: a step failed; its own sentence has been printed.
        """
        while preparing.poll() is None:
            self.supervisor.tick()
            time.sleep(0.02)
        if preparing.returncode != 0:
            raise LocalError("The services cannot start.")


def main(layout: Layout) -> int:
    """Run the background process. There is one at a time: its identity is stored in `supervisor.json`."""
    identity = Identity.of(os.getpid())
    assert identity is not None
    identity.save(layout.home / "supervisor.json")
    log = layout.log_folder / "supervisor.log"
    return Stack(layout, log_begins=log.stat().st_size if log.exists() else 0).run()
