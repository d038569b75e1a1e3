"""Attacks on a gateway by one client, each in a process of its own.

python -m tests.benchmarks.attackers NAME PORT SECONDS
"""

import asyncio
import contextlib
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from urllib.parse import quote

ADDRESS = "127.0.0.9"  # bystanders have others; all of 127.0.0.0/8 is the loopback of Linux
CONNECTIONS = 4_200  # a hundred more than a server takes
OPENING = 64  # at once
REOPEN_SECONDS = 2.0  # after a connection ended: thousands that come back at once are a flood of connections
GET = b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n"
MARKS = "/" + quote("a" + "".join(mark * 1_760 for mark in "\u0345\u0301\u0316"))  # fills the head of a request
CHUNKED = (
    b"POST /v1/sign-in HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n"
)
BROKEN = (OSError, asyncio.IncompleteReadError)

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Hold = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Attacker:
    """One client until `deadline`."""

    def __init__(self, port: int, seconds: float) -> None:
        self._port = port
        self.deadline = time.monotonic() + seconds
        self._opening = asyncio.Semaphore(OPENING)

    async def open(self, address: str = ADDRESS) -> Streams:
        async with self._opening, asyncio.timeout(5):
            return await asyncio.open_connection("127.0.0.1", self._port, local_addr=(address, 0))

    async def hold(self, do: Hold, addresses: list[str], connections: int = CONNECTIONS) -> None:
        """Hold that many connections with `do`; one that ends is opened again after a moment."""

        async def one(address: str) -> None:
            while time.monotonic() < self.deadline:
                with contextlib.suppress(*BROKEN):
                    reader, writer = await self.open(address)
                    try:
                        await do(reader, writer)
                    finally:
                        writer.close()
                await asyncio.sleep(REOPEN_SECONDS)

        tasks = [asyncio.create_task(one(addresses[number % len(addresses)])) for number in range(connections)]
        await asyncio.wait(tasks, timeout=max(0.0, self.deadline - time.monotonic()))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _ask_and_stay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(GET)
    await reader.read()


async def _drip(writer: asyncio.StreamWriter, begin: bytes, piece: bytes) -> None:
    writer.write(begin)
    while True:
        await asyncio.sleep(1)
        writer.write(piece)
        await writer.drain()


async def _drip_headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _drip(writer, b"GET / HTTP/1.1\r\nHost: h\r\n", b"X: y\r\n")


async def _drip_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _drip(writer, CHUNKED, b"1\r\n \r\n")


async def _pipeline(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # it can
    writer.write(GET * 20_000)
    await asyncio.sleep(10)


async def trailers(attacker: Attacker) -> None:
    """Send trailers without end, on one connection at a time."""
    while time.monotonic() < attacker.deadline:
        with contextlib.suppress(*BROKEN):
            _, writer = await attacker.open()
            writer.write(CHUNKED + b"0\r\n")
            try:
                while time.monotonic() < attacker.deadline:
                    writer.write(b"X-Trailer: y\r\n" * 5_000)
                    await writer.drain()
            finally:
                writer.transport.abort()
        await asyncio.sleep(0.1)


async def headers(attacker: Attacker) -> None:
    """Send 40 kB of headers at once, on one connection at a time."""
    raw = b"GET / HTTP/1.1\r\nHost: h\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 990) for n in range(40)) + b"\r\n"
    while time.monotonic() < attacker.deadline:
        with contextlib.suppress(*BROKEN):
            reader, writer = await attacker.open()
            writer.write(raw)
            async with asyncio.timeout(5):
                await reader.read()
            writer.close()


async def marks(attacker: Attacker) -> None:
    """Ask for an address that was never anybody's, full of marks out of order, on one connection."""
    raw = f"GET {MARKS} HTTP/1.1\r\nHost: h\r\n\r\n".encode()
    while time.monotonic() < attacker.deadline:
        with contextlib.suppress(*BROKEN):
            reader, writer = await attacker.open()
            try:
                while time.monotonic() < attacker.deadline:
                    writer.write(raw)
                    async with asyncio.timeout(5):
                        head = await reader.readuntil(b"\r\n\r\n")
                        length = next(one for one in head.lower().split(b"\r\n") if one.startswith(b"content-length:"))
                        await reader.readexactly(int(length.partition(b":")[2]))
            finally:
                writer.close()


async def idle(attacker: Attacker) -> None:
    """Keep connections of one address open after a request."""
    await attacker.hold(_ask_and_stay, [ADDRESS])


async def slow_headers(attacker: Attacker) -> None:
    """Send headers slowly on connections of one address."""
    await attacker.hold(_drip_headers, [ADDRESS])


async def slow_bodies(attacker: Attacker) -> None:
    """Send bodies slowly on connections of one address."""
    await attacker.hold(_drip_body, [ADDRESS])


async def slow_headers_of_many(attacker: Attacker) -> None:
    """Send headers slowly from forty addresses, whose shares together are more than all."""
    await attacker.hold(_drip_headers, [f"127.0.9.{number}" for number in range(1, 41)])


async def pipelined(attacker: Attacker) -> None:
    """Send many requests at once on connections of one address, and read none of the answers."""
    await attacker.hold(_pipeline, [ADDRESS], 500)


ATTACKS: dict[str, Callable[[Attacker], Awaitable[None]]] = {
    "trailers": trailers,
    "headers": headers,
    "marks": marks,
    "idle": idle,
    "slow-headers": slow_headers,
    "slow-bodies": slow_bodies,
    "slow-headers-of-many": slow_headers_of_many,
    "pipelined": pipelined,
}


async def _main(name: str, port: int, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds + 10):
            await ATTACKS[name](Attacker(port, seconds))


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.nice(10)  # what it takes of the core of the load is not the product's slowness
    asyncio.run(_main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
