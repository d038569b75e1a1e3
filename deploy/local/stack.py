"""The background process of `make up`: start the whole stack in order, supervise it, stop it in order."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from deploy.local import broker_access, checks, environment, units
from deploy.local.databases import create_databases, needs_migration
from deploy.local.layout import CHECKOUT, DATABASES, Layout
from deploy.local.processes import Identity, LocalError, spawn, tail
from deploy.local.stop_signals import Stopped, stoppable
from deploy.local.supervisor import Supervisor

SERVERS = ("mailbox", "kafka", "valkey", "postgres")  # in the order in which they are stopped


def say(line: str) -> None:
    """Print one line for the user; `up` and `down` show it as it is written."""
    with contextlib.suppress(OSError):  # its log may be on a full disk
        print(time.strftime("%H:%M:%S"), line, flush=True)


@dataclass
class Stack:
    """All processes that `layout` needs, under one supervisor.

    Attributes:
        phase: `starting`, `ready`, `stopping`, `stopped` or `failed`; stored in `state.json`.
    """

    layout: Layout
    phase: str = "starting"
    supervisor: Supervisor = field(init=False)
    given: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.given = self.layout.kept() | {"ADMIN_EMAILS": environment.admin_emails(self.layout)}
        self.supervisor = Supervisor(self.layout.home / "run", say, self.write_state)

    def write_state(self) -> None:
        """Write the state for `up` and `status` atomically."""
        found = [asdict(unit.now()) for unit in self.supervisor.units]
        file = self.layout.home / "state.json"
        unfinished = file.with_suffix(".new")
        with contextlib.suppress(OSError):  # a full disk: the state is old until there is room again
            unfinished.write_text(json.dumps({"phase": self.phase, "given": self.given, "units": found}))
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
                self.supervisor.watch()
            except LocalError as error:
                say(str(error))
                failed = True
            except OSError as error:
                say(checks.disk_problem(self.layout, error))
                failed = True
            except Stopped:
                say("stopping")
        self.enter("stopping")
        self.supervisor.stop(["gateway"], self.layout.processes, *([name] for name in SERVERS))
        say("everything is stopped")
        self.enter("failed" if failed else "stopped")
        return 1 if failed else 0

    def bring_up(self) -> None:
        """Start servers, databases, migrations and services; each as soon as its dependencies are ready.

        The services create the topics.

        Raises:
            LocalError: a step failed.
        """
        layout, supervisor = self.layout, self.supervisor
        environment.keys(layout)
        environment.write_for_operator(layout)
        checks.check_given_servers(layout)
        if layout.needs_postgres:
            say("starting PostgreSQL")
            postgres = units.postgres(layout)
            supervisor.add(postgres)
            supervisor.wait_ready(["postgres"], 60)
            made = asyncio.run(create_databases(layout, postgres))
            if made:
                say(f"created the databases {', '.join(made)}")
        migrations = start_migrations(layout, asyncio.run(services_to_migrate(layout)))
        if layout.needs_valkey:
            supervisor.add(units.valkey(layout))
        if layout.needs_mailbox:
            supervisor.add(units.mailbox(layout))
        if layout.needs_kafka:
            say("starting Kafka")
            supervisor.add(units.kafka(layout, say))
        finish_migrations(layout, migrations)
        supervisor.wait_ready(SERVERS, 120)
        if layout.needs_kafka:
            asyncio.run(broker_access.grant_all(layout))
        say("starting the services")
        supervisor.add(*(units.process(layout, name) for name in layout.processes))
        supervisor.wait_ready(layout.processes, 120)
        supervisor.settle(120)


async def services_to_migrate(layout: Layout) -> list[str]:
    """Return the services whose database lacks a migration."""
    return [name for name in DATABASES if await needs_migration(layout, name)]


def start_migrations(layout: Layout, names: Sequence[str]) -> dict[str, "subprocess.Popen[bytes]"]:
    """Start `python -m services.NAME migrate` for these services, all at once."""
    if names:
        say(f"applying migrations of {', '.join(names)}")
    return {
        name: spawn(
            [sys.executable, "-m", f"services.{name}", "migrate"],
            log=layout.log_folder / f"{name}-migrate.log",
            environment=environment.of(layout, name),
            folder=CHECKOUT,
        )
        for name in names
    }


def finish_migrations(layout: Layout, started: dict[str, "subprocess.Popen[bytes]"]) -> None:
    """Wait for the migrations.

    Raises:
        LocalError: a migration failed.
    """
    for name, process in started.items():
        if process.wait() != 0:
            log = layout.log_folder / f"{name}-migrate.log"
            raise LocalError(f"The migrations of {name} failed. The end of {log}:\n{tail(log)}")


def main(layout: Layout) -> int:
    """Run the background process. There is one at a time: its identity is stored in `supervisor.json`."""
    identity = Identity.of(os.getpid())
    assert identity is not None
    identity.save(layout.home / "supervisor.json")
    return Stack(layout).run()
