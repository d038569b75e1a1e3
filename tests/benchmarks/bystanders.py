"""People who read and write while somebody attacks: how long they wait, and how many are refused."""

import asyncio
import contextlib
import itertools
import time
from collections import Counter
from dataclasses import dataclass, field

import orjson

from tests.benchmarks.measurement import quantile
from tests.benchmarks.system import System
from tests.benchmarks.wire import exchange, request

READS, WRITES = 40, 10  # a second
PATIENCE = 10.0  # seconds until somebody gives up
BROKEN = (OSError, asyncio.IncompleteReadError, TimeoutError, ValueError)


@dataclass
class Experience:
    """What happened to them; latencies in ms, from connecting to the answer."""

    latencies: list[float] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)

    @property
    def p50(self) -> float:
        return quantile(self.latencies, 0.5) if self.latencies else float("inf")

    @property
    def p99(self) -> float:
        return quantile(self.latencies, 0.99) if self.latencies else float("inf")


async def live_on(system: System, post_id: str, seconds: float) -> Experience:
    """Let each read or write once, from an address and over a connection of their own."""
    found, addresses = Experience(), itertools.cycle(f"127.0.1.{number}" for number in range(1, 251))
    read = request("GET", f"/v1/posts/{post_id}/comments?limit=100", {})

    async def one(raw: bytes, expected: int) -> None:
        begun = time.perf_counter()
        outcome = "no answer"
        with contextlib.suppress(*BROKEN):
            async with asyncio.timeout(PATIENCE):
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", system.port, limit=1 << 20, local_addr=(next(addresses), 0)
                )
                try:
                    status, _, _ = await exchange(reader, writer, raw)
                    outcome = str(status)
                finally:
                    writer.close()
        if outcome == str(expected):
            found.latencies.append(1000 * (time.perf_counter() - begun))
        else:
            found.refused[outcome] += 1

    async with asyncio.TaskGroup() as group:
        begun = time.perf_counter()
        for number in range(int(seconds * (READS + WRITES))):
            await asyncio.sleep(max(0.0, begun + number / (READS + WRITES) - time.perf_counter()))
            if number % (READS + WRITES) < WRITES:
                body = orjson.dumps({"body": f"Said meanwhile: {number}, {time.time()}."})
                headers = {"Authorization": f"Bearer {system.crowd.next().access_token}"}
                group.create_task(one(request("POST", f"/v1/posts/{post_id}/comments", headers, body), 201))
            else:
                group.create_task(one(read, 200))
    return found
