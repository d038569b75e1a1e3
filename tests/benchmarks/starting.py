"""`python -m tests.benchmarks.starting [--base REF] [--rounds N]`: how long `make up` takes, and what it holds then.

Each stack has a folder of its own, so its first start is that of a machine on which everything is installed and the
jars are fetched; the others are warm. Numbers are medians; processor time is that of the machine, so let it be quiet.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from deploy.local.layout import PORTS
from tests.benchmarks.checkout import Checkout, CheckoutError, build, build_present
from tests.benchmarks.compare import BASE, THIS
from tests.benchmarks.measurement import MeasurementError
from tests.servers import free_port

PROFILES = ("full", "small")
SERVERS = ("postgres", "valkey", "kafka", "mailbox")
IDLE_SECONDS = 20.0  # until nothing of the start is under way any more
ROW = re.compile(r"^([a-z-]+) +ready +\d+(?: +\d+)? +([\d.]+)", re.MULTILINE)


@dataclass
class Found:
    """What one profile of one checkout took: seconds of each start, and MiB by process when it was idle."""

    cold: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)
    warm_processor: list[float] = field(default_factory=list)
    memory: dict[str, float] = field(default_factory=dict)

    @property
    def of_services(self) -> float:
        """Return the memory of all but the servers: the supervisor shares its own with the services."""
        return sum(size for name, size in self.memory.items() if name not in SERVERS)


class Home:
    """The folder and the ports of one stack."""

    def __init__(self, checkout: Checkout, profile: str, folder: Path) -> None:
        self._checkout = checkout
        ports = {name: str(free_port()) for name in PORTS}
        self._environment = os.environ | ports | {"RAPPORT_HOME": str(folder), "PROFILE": profile}

    def run(self, action: str) -> str:
        """Run `python -m deploy.local ACTION` and return what it printed.

        Raises:
            MeasurementError: it failed.
        """
        command = [str(self._checkout.python), "-m", "deploy.local", action]
        ended = subprocess.run(
            command, cwd=self._checkout.root, env=self._environment, capture_output=True, text=True, timeout=600
        )
        if ended.returncode != 0:
            raise MeasurementError(f"{action} of {self._checkout.name} failed:\n{ended.stdout}{ended.stderr}")
        return ended.stdout

    def sizes(self) -> dict[str, float]:
        """Return the memory of each process, in MiB, once nothing of the start is under way any more."""
        time.sleep(IDLE_SECONDS)
        return {name: float(size) for name, size in ROW.findall(self.run("status"))}

    def start(self) -> tuple[float, float]:
        """Start it; return the seconds until everything was ready, and of processor time of the machine."""
        begun, before = time.monotonic(), _busy()
        self.run("up")
        return time.monotonic() - begun, _busy() - before


def _busy() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)


def measure(checkout: Checkout, profile: str, rounds: int, say: Callable[[str], None]) -> Found:
    """Start a new stack, and the same one again as often as there are rounds."""
    found = Found()
    with tempfile.TemporaryDirectory() as folder:
        home = Home(checkout, profile, Path(folder) / "home")
        try:
            for number in range(rounds + 1):
                seconds, processor = home.start()
                say(f"{checkout.name}, {profile}: {'warm' if number else 'cold'} {seconds:.1f} s")
                if number == 0:
                    found.cold.append(seconds)
                else:
                    found.warm.append(seconds)
                    found.warm_processor.append(processor)
                if number == rounds:
                    found.memory = home.sizes()
                home.run("down")
        finally:
            home.run("down")
    return found


def size_of_services(checkout: Checkout) -> float:
    """Return the memory of the services and their supervisor when `make up` has just started them, in MiB.

    Raises:
        MeasurementError: they do not start.
    """
    with tempfile.TemporaryDirectory() as folder:
        home = Home(checkout, "full", Path(folder) / "home")
        try:
            home.run("up")
            return Found(memory=home.sizes()).of_services
        finally:
            home.run("down")


def show(results: dict[tuple[str, str], Found]) -> Table:
    """Return the table: a column for each checkout and profile."""
    table = Table(title="make up")
    table.add_column("")
    for side, profile in results:
        table.add_column(f"{side}, {profile}", justify="right")
    lines: dict[str, Callable[[Found], str]] = {
        "cold, without download (goal ≤ 30 s)": lambda found: f"{found.cold[0]:.1f} s",
        "warm (goal ≤ 4 s)": lambda found: f"{statistics.median(found.warm):.1f} s",
        "warm, processor time of the machine": lambda found: f"{statistics.median(found.warm_processor):.1f} s",
        "idle: services and supervisor": lambda found: f"{found.of_services:.0f} MiB",
        "idle: with the servers (goals ≤ 450, ≤ 320)": lambda found: f"{sum(found.memory.values()):.0f} MiB",
    }
    for name, read in lines.items():
        table.add_row(name, *map(read, results.values()))
    for process in dict.fromkeys(name for found in results.values() for name in found.memory):
        sizes = [f"{found.memory[process]:.0f} MiB" if process in found.memory else "" for found in results.values()]
        table.add_row(f"  {process}", *sizes)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.starting")
    parser.add_argument("--base", metavar="REF", default="", help="a commit to compare with")
    parser.add_argument("--rounds", type=int, default=3, help="warm starts of each")
    given = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 120)
    try:
        checkouts = {BASE: build(given.base, console.print)} if given.base else {}
        checkouts[THIS] = build_present(console.print)
    except CheckoutError as error:
        sys.exit(str(error))
    try:
        results = {
            (side, profile): measure(checkout, profile, given.rounds, console.print)
            for side, checkout in checkouts.items()
            for profile in PROFILES
            if profile == "full" or (checkout.root / "services/all_in_one").exists()
        }
    except MeasurementError as error:
        sys.exit(str(error))
    console.print(show(results))


if __name__ == "__main__":
    main()
