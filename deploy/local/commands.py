"""The commands behind `make up`, `down`, `status` and `logs`."""

import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deploy.local import checks, environment, units
from deploy.local import logs as reading
from deploy.local.background import as_running, follow, start_supervisor, state, supervisor
from deploy.local.layout import CHECKOUT, SECRET_FILES, SERVICES, Layout
from deploy.local.memory import session_memory
from deploy.local.processes import Identity, LocalError, wait_until
from deploy.local.stack import SERVERS

START_SECONDS = 600
STOP_SECONDS = 90


@contextmanager
def exclusive(layout: Layout) -> Iterator[None]:
    """Hold the lock of a stack: only one `up` or `down` runs at a time; the second waits for the first."""
    layout.home.mkdir(parents=True, exist_ok=True)
    with (layout.home / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def up(layout: Layout) -> None:
    """Start everything that does not run and return when everything is ready.

    Raises:
        LocalError: the start failed; the message says what to do.
    """
    checks.check_home(layout)
    with exclusive(layout):
        running = supervisor(layout)
        log = layout.log_folder / "supervisor.log"
        shown = 0
        if running is None:
            patience = "" if log.exists() else "; the first time takes about a minute"
            print(f"  {time.strftime('%H:%M:%S')} starting Rapport{patience}", flush=True)
            end_leftovers(layout)
            checks.check_settings(layout)
            checks.check_ports(layout)
            (layout.home / "state.json").unlink(missing_ok=True)
            shown = log.stat().st_size if log.exists() else 0
            running = start_supervisor(layout, log)
        elif state(layout)["phase"] == "stopping":
            raise LocalError("Rapport is being stopped: wait until `make down` has ended.")
        elif state(layout)["phase"] == "ready":
            print("Rapport is already running.")
            print("To apply other settings or newer code: make down, then make up.")
            shown = log.stat().st_size
        try:
            follow(layout, running, log, shown, until="ready", seconds=START_SECONDS)
        except KeyboardInterrupt:
            raise LocalError("\nThe start continues in the background. To stop it: make down") from None
        if state(layout)["phase"] != "ready":
            checks.check_home(layout)
            raise LocalError(f"Rapport did not start; the lines above say why. The whole log: {log}")
    print(start_message(as_running(layout)))


def end_leftovers(layout: Layout) -> None:
    """End the processes that a killed supervisor left behind, and no other process: see `Identity`."""
    files = {file.stem: file for file in (layout.home / "run").glob("*.json")}
    left = {name: identity for name, file in files.items() if (identity := Identity.load(file))}
    if left:
        print(f"ending the processes that a killed supervisor left behind: {', '.join(sorted(left))}")
    order = [name for name in SERVICES if name in left] + [name for name in SERVERS if name in left]
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
    lines += [
        f"  administrator  sign in as {admins}",
        f"  data and logs  {layout.home}",
        "",
        "Go on with: make demo, make status, make logs, make down",
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
    follow(layout, running, log, shown, until="stopped", seconds=STOP_SECONDS)
    if not wait_until(lambda: not running.alive, 10):
        raise LocalError(f"The supervisor (process {running.pid}) did not end; kill it and run `make down` again.")


def status(layout: Layout) -> bool:
    """Print every process with its memory; return whether everything is ready."""
    found = state(layout)
    running = supervisor(layout)
    if running is None:
        print("Nothing is running. Start it with: make up")
        return False
    rows = [("supervisor", found["phase"], running.pid, "", 0), *_rows(found)]
    print(f"{'process':<12}{'state':<10}{'pid':>8}{'port':>8}{'restarts':>10}{'PSS MiB':>10}")
    total = 0.0
    for name, phase, pid, port, restarts in rows:
        memory = session_memory(pid) / 2**20 if pid else 0.0
        total += memory
        print(f"{name:<12}{phase:<10}{pid or '-':>8}{port:>8}{restarts:>10}{memory:>10.1f}")
    print(f"{'total':<48}{total:>10.1f}")
    return bool(found["phase"] == "ready" and all(unit["state"] == "ready" for unit in found["units"]))


def _rows(found: dict[str, Any]) -> Iterator[tuple[str, str, int | None, str, int]]:
    for unit in found["units"]:
        yield unit["name"], unit["state"], unit["pid"], str(unit["port"]), unit["restarts"]


def logs(layout: Layout) -> None:
    """Print the last lines of every log, for people, and follow them until Ctrl-C."""
    files = sorted(layout.log_folder.glob("*.log"))
    if not files:
        raise LocalError("There are no logs yet. Start it with: make up")
    reading.follow(files)


def run(layout: Layout, command: list[str]) -> None:
    """Run a command with the operator's environment of this stack. Replaces this process."""
    os.chdir(CHECKOUT)
    layout = as_running(layout)
    for name in SECRET_FILES:  # what they hold stands in the layout
        os.environ.pop(name, None)
    os.environ.update({name: value for name, value in layout.given.items() if value})
    for name in layout.kept():
        if not layout.given.get(name):
            os.environ.pop(name, None)
    os.environ.update(environment.of(layout, "operator"))
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    os.execvp(command[0], command)  # noqa: S606  # it takes the place of this process
