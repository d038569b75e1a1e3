"""`python -m tests.benchmarks.costly_texts`: one person sends the costliest texts, and then large ones are read.

For both: p99 of others beside before (at most twice), how many of them were refused (none), and the memory of comments
and the gateway a minute later beside before (within 10 %). Three minutes.
"""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import orjson

from tests.benchmarks import cores
from tests.benchmarks.checkout import present
from tests.benchmarks.crowd import POSTING_QUOTA, crowd_size
from tests.benchmarks.measurement import quantile
from tests.benchmarks.system import System, running
from tests.benchmarks.wire import exchange, request
from tests.client import Person

BEFORE_SECONDS, DURING_SECONDS, AFTER_SECONDS = 10, 15, 60
READS, WRITES = 30, 6  # of others, a second
COSTLY = (  # what takes the renderer longest, and what it was once slowest at
    lambda number: f"{number} " + "http://a.b " * 900,
    lambda number: f"{number} " + "![" * 4_990,
    lambda number: f"{number} " + "*a_ " * 2_490,
)
LARGE = "[a]: /" + "u" * 95 + "\n\n" + "[a] " * 800  # as large as the bound allows
LARGE_COMMENTS, READERS = 60, 24


@dataclass
class Experience:
    """What others met with; latencies in ms."""

    latencies: list[float] = field(default_factory=list)
    refused: Counter[int] = field(default_factory=Counter)

    @property
    def p99(self) -> float:
        return quantile(self.latencies, 0.99)


async def send(system: System, raw: bytes) -> int:
    """Send one request over a connection of its own and return the status."""
    reader, writer = await asyncio.open_connection("127.0.0.1", system.port, limit=1 << 24)
    try:
        async with asyncio.timeout(30):
            return (await exchange(reader, writer, raw))[0]
    finally:
        writer.close()


def comment(post_id: str, who: Person, text: str) -> bytes:
    headers = {"Authorization": f"Bearer {who.access_token}", "Idempotency-Key": str(uuid4())}
    return request("POST", f"/v1/posts/{post_id}/comments", headers, orjson.dumps({"body": text}))


def read(post_id: str, who: Person, query: str = "limit=100") -> bytes:
    headers = {"Authorization": f"Bearer {who.access_token}", "Cookie": "rapport=x"}  # with a cookie nothing is shared
    return request("GET", f"/v1/posts/{post_id}/comments?{query}", headers)


async def live_on(system: System, post_id: str, seconds: float) -> Experience:
    """Let others read, past the cache, and write."""
    found = Experience()

    async def one(raw: bytes, expected: int) -> None:
        begun = time.perf_counter()
        status = await send(system, raw)
        if status == expected:
            found.latencies.append(1000 * (time.perf_counter() - begun))
        else:
            found.refused[status] += 1

    rate, begun = READS + WRITES, time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(int(seconds * rate)):
            await asyncio.sleep(max(0.0, begun + number / rate - time.perf_counter()))
            who = system.crowd.next()
            if number % rate < WRITES:
                group.create_task(one(comment(post_id, who, f"Said meanwhile: {uuid4()}"), 201))
            else:
                group.create_task(one(read(post_id, who), 200))
    return found


async def costly(system: System, post_id: str, attacker: Person) -> Counter[int]:
    """Send all the texts of a minute at once."""
    texts = [COSTLY[number % len(COSTLY)](number) for number in range(POSTING_QUOTA)]
    return Counter(await asyncio.gather(*(send(system, comment(post_id, attacker, text)) for text in texts)))


async def large(system: System, post_id: str, attacker: Person) -> Counter[int]:
    """Post large comments on a post of their own, and read them by many at once, three times."""
    target = await system.publish("Large comments", system.author)
    found = Counter[int]()
    for number in range(LARGE_COMMENTS):
        found[await send(system, comment(target, attacker, f"{number} {LARGE}"))] += 1
    for _ in range(3):
        raw = read(target, attacker, "limit=200")
        found.update(await asyncio.gather(*(send(system, raw) for _ in range(READERS))))
        await asyncio.sleep(2)
    return found


Attack = Callable[[System, str, Person], Coroutine[Any, Any, Counter[int]]]


def memory(system: System) -> dict[str, float]:
    sizes = cores.sizes(system.stack)
    return {name: sizes[name] for name in ("comments", "gateway")}


async def measure(system: System, post_id: str, attack: Attack) -> None:
    """Print what others met with before and during an attack, and the memory around it."""
    await live_on(system, post_id, 3)
    before, size = await live_on(system, post_id, BEFORE_SECONDS), memory(system)
    attacking = asyncio.create_task(attack(system, post_id, system.reader))
    await asyncio.sleep(0.2)
    during, size_then = await live_on(system, post_id, DURING_SECONDS), memory(system)
    outcome = await attacking
    await asyncio.sleep(AFTER_SECONDS)
    after = memory(system)
    print(f"{attack.__name__}: attacker {dict(outcome)}")
    print(f"  others: p99 {before.p99:.1f} → {during.p99:.1f} ms ({during.p99 / before.p99:.2f}), "
          f"p50 {quantile(before.latencies, 0.5):.1f} → {quantile(during.latencies, 0.5):.1f} ms, "
          f"refused {dict(before.refused)} → {dict(during.refused)}")  # fmt: skip
    for name, then in size.items():
        print(f"  {name}: {then:.0f} → {size_then[name]:.0f} → {after[name]:.0f} MB ({after[name] / then:.2f})")


async def main() -> None:
    async with running(present(), print) as system:
        seconds = 2 * (3 + BEFORE_SECONDS + DURING_SECONDS)
        await system.populate(crowd_size(seconds * (READS + WRITES)))
        post_id = await system.publish("A post", system.author)
        await system.import_thread(post_id, 100)
        cores.pin_all(system.stack, system.servers)
        for attack in (costly, large):
            if sys.argv[1:] and attack.__name__ not in sys.argv[1:]:
                continue
            system.renew_tokens()
            await measure(system, post_id, attack)


if __name__ == "__main__":
    asyncio.run(main())
