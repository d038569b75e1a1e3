"""The commands behind `make up`, `down`, `status` and `logs`."""

import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local import checks, environment, put_aside, resources, units
from deploy.local import logs as reading
from deploy.local.background import as_running, follow, start_supervisor, state, supervisor, unsettled
from deploy.local.background import units as units_of
from deploy.local.layout import ALL_IN_ONE, CHECKOUT, SECRET_FILES, SERVICES, Layout
from deploy.local.memory import session_memory
from deploy.local.processes import Identity, LocalError, wait_until
from deploy.local.stack import SERVERS
from deploy.local.unit_state import UnitState

START_SECONDS = 600
AGAIN_SECONDS = 120  # for the parts of a stack that runs already
STOP_SECONDS = 90


@contextmanager
def exclusive(layout: Layout) -> Iterator[None]:
    """Hold the lock of a stack: only one `up` runs at a time; the second waits for the first.

    `down` takes it only where nothing runs: it stops an `up` that is not getting on.
    """
    layout.home.mkdir(parents=True, exist_ok=True)
    with (layout.home / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def up(layout: Layout) -> None:
    """Start everything that does not run; return when everything is ready and has stayed so for a moment.

    Raises:
        LocalError: the start failed, or a part of a running stack is not ready; the message says what to do.
    """
    checks.check_home(layout)
    with exclusive(layout):
        running = supervisor(layout)
        try:
            if running is None:
                put_aside.check_not_interrupted(layout)
                start(layout)
            elif state(layout)["phase"] == "stopping":
                raise LocalError("Rapport is being stopped: wait until `make down` has ended.")
            else:
                look_again(layout, running)
        except KeyboardInterrupt:
            raise LocalError("\nThe start continues in the background. To stop it: make down") from None
    print(start_message(as_running(layout)))


def start(layout: Layout) -> None:
    """Check what is needed, start the background process, and wait until everything is ready.

    Raises:
        LocalError: something is missing, or a part did not start.
    """
    log = layout.log_folder / "supervisor.log"
    patience = "" if log.exists() else "; the first time takes about a minute"
    print(f"  {time.strftime('%H:%M:%S')} starting Rapport{patience}", flush=True)
    end_leftovers(layout)
    needs, has = resources.needed(layout), resources.free(layout)
    print(reading.indented(f"{time.strftime('%H:%M:%S')} {resources.sentence(needs, has)}"), flush=True)
    checks.check_settings(layout)
    resources.check(layout, needs, has)
    checks.check_ports(layout)
    (layout.home / "state.json").unlink(missing_ok=True)
    shown = log.stat().st_size if log.exists() else 0
    wait_for_start(layout, start_supervisor(layout, log), shown)


def wait_for_start(layout: Layout, running: Identity, shown: int) -> None:
    """Follow a start to its end.

    Raises:
        LocalError: it failed; what was printed says why.
    """
    log = layout.log_folder / "supervisor.log"
    follow(
        layout,
        running,
        log,
        shown,
        over=lambda: state(layout)["phase"] in ("ready", "failed"),
        waited=lambda: unsettled(layout),
        seconds=START_SECONDS,
    )
    if state(layout)["phase"] != "ready":
        checks.check_home(layout)
        raise LocalError(f"Rapport did not start; the lines above say why. The whole log: {log}")


def look_again(layout: Layout, running: Identity) -> None:
    """Wait until every part of a stack that runs is ready and has stayed so.

    Raises:
        LocalError: a part ends again and again, or is not ready in time.
    """
    log = layout.log_folder / "supervisor.log"
    if state(layout)["phase"] != "ready":  # somebody's start goes on
        wait_for_start(layout, running, state(layout).get("log_begins", 0))
        return
    print("Rapport is already running.")
    print("To apply other settings or newer code: make down, then make up.")
    before = {unit.name: unit.failures for unit in units_of(layout)}

    def ended_again() -> list[UnitState]:
        return [unit for unit in units_of(layout) if unit.hopeless and unit.failures > before.get(unit.name, 0)]

    follow(
        layout,
        running,
        log,
        log.stat().st_size,
        over=lambda: bool(ended_again()) or not unsettled(layout),
        waited=lambda: unsettled(layout),
        seconds=AGAIN_SECONDS,
    )
    if not running.alive:
        raise LocalError(f"Rapport has ended meanwhile. The whole log: {log}")
    wrong = ended_again() or unsettled(layout)
    if wrong:
        ways = "Everything else runs on. Mend it, then: make down, make up. `make status` shows every part."
        raise LocalError("\n".join([*(unit.failure() for unit in wrong), ways]))


def end_leftovers(layout: Layout) -> None:
    """End the processes that a killed supervisor left behind, and no other process: see `Identity`."""
    files = {file.stem: file for file in (layout.home / "run").glob("*.json")}
    left = {name: identity for name, file in files.items() if (identity := Identity.load(file))}
    if left:
        print(f"ending the processes that a killed supervisor left behind: {', '.join(sorted(left))}")
    order = [name for name in (ALL_IN_ONE, *SERVICES) if name in left] + [name for name in SERVERS if name in left]
    for name in order:
        left[name].end(units.STOP_SIGNALS.get(name, signal.SIGTERM), grace=20)
    for file in files.values():
        file.unlink(missing_ok=True)


def start_message(layout: Layout) -> str:
    """Return the message of a successful start: the addresses and the next commands."""
    lines = [
        "",
        "Rapport is ready.",
        f"  site           {layout.public_url}/",
        f"  API            {layout.public_url}/docs",
    ]
    if layout.needs_mailbox:
        lines.append(f"  mailbox        {layout.mailbox_url}/ (all mail arrives here)")
    admins = environment.admin_emails(layout)
    unnamed = "" if layout.given.get("SITE_NAME") else "make setup, "
    lines += [
        f"  administrator  register as {admins}, later sign in",
        f"  data and logs  {layout.home}",
        "",
        f"Go on with: {unnamed}make demo, make status, make logs, make down",
    ]
    return "\n".join(lines)


def down(layout: Layout) -> None:
    """Stop the services, then the servers. The data stays.

    Raises:
        LocalError: the supervisor does not end.
    """
    running = supervisor(layout)
    if running is None:
        with exclusive(layout):
            end_leftovers(layout)
        print("Nothing is running.")
        return
    log = layout.log_folder / "supervisor.log"
    shown = log.stat().st_size
    running.send(signal.SIGTERM)
    follow(
        layout,
        running,
        log,
        shown,
        over=lambda: state(layout)["phase"] in ("stopped", "failed"),
        waited=lambda: [unit for unit in units_of(layout) if unit.state != "stopped"],
        seconds=STOP_SECONDS,
    )
    if not wait_until(lambda: not running.alive, 10):
        raise LocalError(f"The supervisor (process {running.pid}) did not end; kill it and run `make down` again.")


def status(layout: Layout) -> bool:
    """Print every process with its memory, restarts and last end; return whether everything is ready."""
    found = state(layout)
    running = supervisor(layout)
    if running is None:
        print("Nothing is running. Start it with: make up")
        return False
    rows = [UnitState("supervisor", found["phase"], running.pid, 0), *units_of(layout)]
    print(f"{'process':<12}{'state':<10}{'pid':>8}{'port':>7}{'PSS MiB':>9}{'restarts':>10}  last end")
    total = 0.0
    for unit in rows:
        memory = session_memory(unit.pid) / 2**20 if unit.pid else 0.0
        total += memory
        row = (
            f"{unit.name:<12}{unit.state:<10}{unit.pid or '-':>8}{unit.port or '':>7}{memory:>9.1f}{unit.restarts:>10}"
        )
        print(f"{row}  {unit.end}".rstrip())
    print(f"{'total':<37}{total:>9.1f}")
    wrong = [unit for unit in rows[1:] if unit.state != "ready"]
    for unit in wrong:
        print(f"{unit.name} is not ready: {unit.log}")
    return found["phase"] == "ready" and not wrong


def logs(layout: Layout) -> None:
    """Print the last lines of every log, for people, and follow them until Ctrl-C."""
    files = sorted(layout.log_folder.glob("*.log"))
    if not files:
        raise LocalError("There are no logs yet. Start it with: make up")
    reading.follow(files)


def run(layout: Layout, command: list[str]) -> None:
    """Run a command with the operator's environment of this stack. Replaces this process."""
    layout = as_running(layout)
    _become(layout, command, environment.of(layout, "operator"))


def backup(layout: Layout, arguments: list[str]) -> None:
    """Run `rapport backup` with the addresses of all databases. Replaces this process."""
    layout = as_running(layout)
    # a trial of the backup is restored into databases of its own, which services may not create
    superuser = units.postgres(layout).url() if "--verify" in arguments and layout.needs_postgres else None
    _become(layout, ["rapport", "backup", *arguments], environment.for_backups(layout, superuser=superuser))


def _become(layout: Layout, command: list[str], variables: dict[str, str]) -> None:
    os.chdir(CHECKOUT)
    for name in SECRET_FILES:  # what they hold stands in the layout
        os.environ.pop(name, None)
    os.environ.update({name: value for name, value in layout.given.items() if value})
    for name in layout.kept():
        if not layout.given.get(name):
            os.environ.pop(name, None)
    os.environ.update(variables)
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    os.execvp(command[0], command)  # noqa: S606  # it takes the place of this process
