"""`python -m tests.benchmarks [--base REF] [--rounds N] [PART …]`: measure all parts, or the named ones, as a table."""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tests.benchmarks import cores, mailing, reading, relaying, report, starting, table, writing
from tests.benchmarks.bounds import missing
from tests.benchmarks.checkout import Checkout, CheckoutError, build, build_present
from tests.benchmarks.compare import BASE, THIS, Failure, Row, summarize
from tests.benchmarks.crowd import crowd_size
from tests.benchmarks.measurement import Measurement, MeasurementError, Unit
from tests.benchmarks.system import System, running
from tests.benchmarks.turns import TURNS, Measure, Part, take_turns
from tests.stack import ONE

WRITES = TURNS * (reading.WRITES + writing.WRITES + mailing.WRITES)  # of one round


async def memory(system: System) -> Measure:
    """Memory of the processes as they stood before anybody came."""

    async def measure() -> list[Measurement]:
        work = "idle memory of the five processes"
        return [
            Measurement(work, sum(system.idle.values()), Unit.MEMORY, goal="≤ 250 MB"),
            *(Measurement(f"{work}: {name}", size, Unit.MEMORY, is_part=True) for name, size in system.idle.items()),
            *(
                Measurement(
                    f"{work} and their supervisor, as `make up` starts them", size, Unit.MEMORY, goal="≤ 250 MB"
                )
                for size in [system.idle_as_made_up]
                if size is not None
            ),
            *(
                Measurement("idle memory of one process for all", size, Unit.MEMORY, goal="≤ 120 MB")
                for size in system.idle_as_one.values()
            ),
        ]

    return measure


PARTS: dict[str, Part] = {
    "memory": memory,
    "pages": reading.pages,
    "html": reading.post_page,
    "invalidation": reading.after_invalidation,
    "mail": mailing.delays,
    "relay": mailing.slow_server,
    "followers": mailing.followers,
    "backlog": relaying.backlog,
    "writing": writing.comments,
    "long": reading.long_thread,
}


async def run(
    checkouts: dict[str, Checkout], parts: Sequence[str], rounds: int, say: Callable[[str], None]
) -> tuple[list[table.Line], float]:
    """Start the systems, measure them by turns, end them. A part that fails says so and leaves the others alone.

    Returns:
        the lines of the table, and the share of the product's core that other programs took.
    """
    lines: list[table.Line] = []
    made_up: dict[str, float] = {}
    if "memory" in parts:
        for side, checkout in checkouts.items():
            say(f"starting {checkout.name} as `make up` does …")
            try:
                made_up[side] = await asyncio.to_thread(starting.size_of_services, checkout)
            except MeasurementError as error:
                lines.append(Failure("memory", str(error)))
    async with AsyncExitStack() as stack:
        systems = {
            side: await stack.enter_async_context(running(checkout, say)) for side, checkout in checkouts.items()
        }
        for side, system in systems.items():
            system.idle_as_made_up = made_up.get(side)
            system.idle = cores.sizes(system.stack)
            if "memory" in parts and ONE in system.stack.services:
                system.idle_as_one = await system.size_as_one()
        for side, system in systems.items():
            say(f"bringing people into {side} …")
            await system.populate(crowd_size(WRITES * rounds))
        for system in systems.values():
            cores.pin_all(system.stack, system.servers)
        for part in parts:
            say(f"{part} …")
            try:
                lines += summarize(await take_turns(systems, PARTS[part], rounds, say))
            except MeasurementError as error:
                lines.append(Failure(part, str(error)))
        observed = sum(system.observed_seconds for system in systems.values())
        foreign = sum(system.foreign_seconds for system in systems.values()) / observed if observed else 0.0
    return lines, foreign


def caption(checkouts: dict[str, Checkout], rounds: int, seconds: float, foreign: float) -> str:
    """Say what was measured, how, and when."""
    commits = ", ".join(f"{side} = {checkout.name}" for side, checkout in checkouts.items())
    turns = f"{rounds} {'round' if rounds == 1 else 'rounds'} of {TURNS} turns, all started anew for each round"
    both = "; base and this by turns, while the other runs idle; ratios are medians of the turns' own"
    return (
        f"{commits}; {turns}{both if len(checkouts) > 1 else ''}; product and PostgreSQL on core "
        f"{min(cores.SERVER_CORE)}, load, Kafka and Valkey on core {min(cores.LOAD_CORE)}; µs are of processor time; "
        f"rate limits on, default settings, but NOTIFY_SETTLE_SECONDS=0; "
        f"other programs used {foreign:.0%} of core {min(cores.SERVER_CORE)} while prices were measured; "
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {seconds / 60:.1f} minutes"
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Measure, side by side.")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--base", metavar="REF", default="", help="a commit to compare with")
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="write performance.md and its picture there")
    parser.add_argument("--rounds", type=int, help="how often each is measured: 3 with a base, else 1")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    parts = given.parts or list(PARTS)
    rounds = given.rounds or (3 if given.base else 1)
    if (needed := missing()) is not None:
        sys.exit(needed)
    console = Console(width=None if sys.stdout.isatty() else 160)

    def say(text: str) -> None:
        console.print(Text(text))

    begun = time.monotonic()
    try:
        checkouts = {BASE: build(given.base, say)} if given.base else {}
        checkouts[THIS] = build_present(say)
    except CheckoutError as error:
        sys.exit(str(error))
    lines, foreign = asyncio.run(run(checkouts, parts, rounds, say))
    said = caption(checkouts, rounds, time.monotonic() - begun, foreign)
    show = table.comparison if given.base else table.alone
    console.print(show(lines, said))
    if given.write:
        report.write(given.write, lines, given.base, said)
    failed = any(isinstance(line, Failure) for line in lines)
    dearer = [line.last.work for line in lines if isinstance(line, Row) and line.is_dearer]
    if dearer:
        say(f"Takes more processor time than the base: {'; '.join(dearer)}.")
    sys.exit(failed or bool(dearer))


if __name__ == "__main__":
    main()
