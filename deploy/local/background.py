"""The background process of a stack: find it, start it, follow what it says."""

import json
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from deploy.local import logs as reading
from deploy.local.layout import CHECKOUT, Layout
from deploy.local.processes import Identity, LocalError, wait_until
from deploy.local.unit_state import UnitState

QUIET_SECONDS = 4


def supervisor(layout: Layout) -> Identity | None:
    """Return the background process, None when it does not run."""
    return Identity.load(layout.home / "supervisor.json")


def state(layout: Layout) -> dict[str, Any]:
    """Return the state that the background process wrote last."""
    try:
        found: dict[str, Any] = json.loads((layout.home / "state.json").read_text())
    except (OSError, ValueError):
        return {"phase": "stopped", "units": []}
    return found


def units(layout: Layout) -> list[UnitState]:
    """Return the states of the processes that the background process wrote last."""
    return [UnitState.of(row) for row in state(layout)["units"]]


def as_running(layout: Layout) -> Layout:
    """Return the layout with the addresses of the stack that runs now, whatever the caller's environment says."""
    kept: dict[str, str] = state(layout).get("given", {})
    return replace(layout, given={**layout.given, **kept}) if supervisor(layout) else layout


def start_supervisor(layout: Layout, log: Path) -> Identity:
    """Start the background process in a session of its own."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "deploy.local", "supervise"],
            cwd=CHECKOUT,
            env={**layout.given, "RAPPORT_HOME": str(layout.home), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    wait_until(lambda: supervisor(layout) is not None or process.poll() is not None, 20)
    identity = supervisor(layout)
    if identity is None:
        raise LocalError(f"The supervisor did not start; see {log}.")
    return identity


def follow(
    layout: Layout,
    running: Identity,
    log: Path,
    shown: int,
    *,
    over: Callable[[], bool],
    waited: Callable[[], Iterable[UnitState]],
    seconds: float,
) -> None:
    """Print the supervisor's log from the byte `shown` on, until it is over or the supervisor ends.

    Whenever nothing was printed for `QUIET_SECONDS`, it says what is waited for.
    """
    begun = said = time.monotonic()
    deadline = begun + seconds
    with log.open(errors="replace") as lines:
        lines.seek(shown)
        while True:
            ended = over() or not running.alive
            for line in lines:
                print(reading.indented(line), flush=True)
                said = time.monotonic()
            if ended or time.monotonic() > deadline:
                return
            if time.monotonic() - said >= QUIET_SECONDS:
                said = time.monotonic()
                names = ", ".join(f"{unit.name} (ended {unit.end})" if unit.end else unit.name for unit in waited())
                line = f"{said - begun:.0f} s: waiting for {names or 'the next step'}"
                print(" " * 11 + textwrap.shorten(line, 69, placeholder=" …"), flush=True)
            time.sleep(0.1)


def unsettled(layout: Layout) -> list[UnitState]:
    """Return the processes that are not ready, or have not stayed so for a moment."""
    now = time.monotonic()
    return [unit for unit in units(layout) if not unit.settled(now)]
