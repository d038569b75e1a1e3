"""The background process of a stack: find it, start it, follow what it says."""

import json
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from deploy.local import logs as reading
from deploy.local.layout import CHECKOUT, Layout
from deploy.local.processes import Identity, LocalError, wait_until

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


def follow(layout: Layout, running: Identity, log: Path, shown: int, *, until: str, seconds: float) -> None:
    """Print the supervisor's log from the byte `shown` on, until the supervisor reaches a phase or ends.

    Whenever nothing was printed for `QUIET_SECONDS`, it says what is waited for.
    """
    begun = said = time.monotonic()
    deadline = begun + seconds
    with log.open(errors="replace") as lines:
        lines.seek(shown)
        while True:
            over = state(layout)["phase"] in (until, "failed") or not running.alive
            for line in lines:
                print(reading.indented(line), flush=True)
                said = time.monotonic()
            if over or time.monotonic() > deadline:
                return
            if time.monotonic() - said >= QUIET_SECONDS:
                said = time.monotonic()
                line = f"{said - begun:.0f} s: waiting for {waited_for(layout, until)}"
                print(" " * 11 + textwrap.shorten(line, 69, placeholder=" …"), flush=True)
            time.sleep(0.1)


def waited_for(layout: Layout, until: str) -> str:
    """Return what still starts or stops."""
    wanted = ("starting", "waiting") if until == "ready" else ("starting", "waiting", "ready")
    return ", ".join(unit["name"] for unit in state(layout)["units"] if unit["state"] in wanted) or "the next step"
