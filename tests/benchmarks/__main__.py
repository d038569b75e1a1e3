"""`python -m tests.benchmarks [PART …]`: every measurement, or the named ones, in one run, as a table."""

import argparse
import asyncio
import sys
import traceback
from collections.abc import Awaitable, Callable, Sequence

from rich.console import Console

from tests.benchmarks import mailing, reading, writing
from tests.benchmarks.bounds import missing
from tests.benchmarks.house import House, built
from tests.benchmarks.table import Row, table


async def memory(house: House) -> list[Row]:
    """Memory of the processes as they stood before anybody came."""
    parts = ", ".join(f"{name} {size:.0f}" for name, size in house.idle.items())
    return [Row("idle memory of the five processes, MB", f"{sum(house.idle.values()):.0f}", parts, goal="≤ 400 MB")]


PARTS: dict[str, Callable[[House], Awaitable[list[Row]]]] = {
    "memory": memory,
    "pages": reading.pages,
    "invalidation": reading.after_invalidation,
    "mail": mailing.delays,
    "writing": writing.comments,
    "long": reading.long_thread,
}


async def run(parts: Sequence[str], console: Console) -> list[Row]:
    """Start a system, measure, take it down. A part that fails says so and leaves the others alone."""
    rows: list[Row] = []
    console.print("starting the system …")
    async with built() as house:
        for part in parts:
            console.print(f"{part} …")
            try:
                rows += await PARTS[part](house)
            except Exception as error:
                traceback.print_exc()
                rows.append(Row(part, "failed", f"{type(error).__name__}: {error}"[:80]))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Measure, side by side.")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART", help=", ".join(PARTS))
    parts = parser.parse_args().parts or list(PARTS)
    if (needed := missing()) is not None:
        sys.exit(needed)
    console = Console(width=None if sys.stdout.isatty() else 160)
    rows = asyncio.run(run(parts, console))
    console.print(table(rows))
    sys.exit(any(row.figure == "failed" for row in rows))


if __name__ == "__main__":
    main()
