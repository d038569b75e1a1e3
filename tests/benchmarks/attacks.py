"""`python -m tests.benchmarks.attacks [NAME …]`: attack with limits on, and see what others notice.

For each attack: p99 of others during it beside that of calm, before it and after it (at most twice), how many of them
were refused (none), and the memory of the gateway a minute after it beside before it (within 10 %).
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tests.benchmarks import cores
from tests.benchmarks.attackers import ATTACKS
from tests.benchmarks.bystanders import WRITES, Experience, live_on
from tests.benchmarks.checkout import present
from tests.benchmarks.crowd import crowd_size
from tests.benchmarks.system import System, running

CALM_SECONDS, ATTACK_SECONDS, AFTER_SECONDS = 15, 20, 60
HEAD_START = 3  # seconds from the beginning of the attack to its full strength
WINDOW_SECONDS = 60  # of the limit on writing


@dataclass(frozen=True)
class Finding:
    """What one attack did; memory of the gateway in MB."""

    name: str
    calm: Experience
    meanwhile: Experience
    memory: tuple[float, float, float]  # before, at the end of the attack, a minute after it


async def attack(system: System, post_id: str, name: str) -> Finding:
    """Measure before, during and after an attack."""
    await live_on(system, post_id, 2)
    calm, size = await live_on(system, post_id, CALM_SECONDS), _memory(system)
    seconds = HEAD_START + ATTACK_SECONDS
    command = [sys.executable, "-m", "tests.benchmarks.attackers", name, str(system.port), str(seconds)]
    attacker = await asyncio.create_subprocess_exec(*command)
    try:
        await asyncio.sleep(HEAD_START)
        meanwhile, size_then = await live_on(system, post_id, ATTACK_SECONDS - 2), _memory(system)
    finally:
        try:
            async with asyncio.timeout(30):
                await attacker.wait()
        except TimeoutError:
            attacker.kill()
    await asyncio.sleep(AFTER_SECONDS - CALM_SECONDS)
    calm.latencies += (await live_on(system, post_id, CALM_SECONDS)).latencies
    return Finding(name, calm, meanwhile, (size, size_then, _memory(system)))


def _memory(system: System) -> float:
    return cores.sizes(system.stack)["gateway"]


async def run(names: Sequence[str], console: Console) -> list[Finding]:
    """Start a system with its default limits and attack it."""
    found = []
    async with running(present(), console.print) as system:
        await system.populate(crowd_size(WRITES * WINDOW_SECONDS))
        post_id = await system.publish("A post under attack", system.author)
        await system.import_thread(post_id, 100)
        cores.pin_all(system.stack, system.servers)
        for name in names:
            console.print(f"{name} …")
            system.renew_tokens()
            found.append(await attack(system, post_id, name))
    return found


def show(found: Sequence[Finding]) -> Table:
    """Show the findings as a table."""
    table = Table(box=SIMPLE_HEAD)
    for heading in ("attack", "p50, p99 in calm", "during", "ratio", "refused", "memory before", "during", "after"):
        table.add_column(heading, justify="left" if heading in ("attack", "refused") else "right")
    for one in found:
        before, meanwhile, after = one.memory
        total = len(one.meanwhile.latencies) + one.meanwhile.refused.total()
        refused = ", ".join(f"{count} × {why}" for why, count in one.meanwhile.refused.items())
        table.add_row(
            one.name,
            *(f"{each.p50:.1f}, {each.p99:.1f} ms" for each in (one.calm, one.meanwhile)),
            f"{one.meanwhile.p99 / one.calm.p99:.2f}",
            f"{one.meanwhile.refused.total()} of {total}" + (f" ({refused})" if refused else ""),
            *(f"{before:.0f} MB", f"{meanwhile:.0f} MB", f"{after:.0f} MB ({after / before:.2f})"),
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.attacks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*ATTACKS, []], metavar="NAME", help=", ".join(ATTACKS))
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(show(asyncio.run(run(parser.parse_args().names or list(ATTACKS), console))))


if __name__ == "__main__":
    main()
