"""A keep-alive HTTP/1.1 client with next to no cost of its own, for requests whose answers have a Content-Length."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Sample:
    """What one run measured; times in seconds."""

    seconds: float
    statuses: dict[int, int] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)

    @property
    def ok(self) -> int:
        return sum(count for status, count in self.statuses.items() if status < 300)

    @property
    def rate(self) -> float:
        """Accepted requests per second."""
        return self.ok / self.seconds


def request(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """One request as bytes."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *(f"{name}: {value}" for name, value in headers.items())]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, raw: bytes) -> tuple[int, bytes, bytes]:
    """Send a request; status, header block and body of its answer."""
    writer.write(raw)
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head[9:12])
    mark = head.lower().find(b"content-length:")
    length = int(head[mark + 15 : head.index(b"\r\n", mark)]) if mark >= 0 else 0
    return status, head, await reader.readexactly(length) if length else b""


async def drive(port: int, requests: Iterator[bytes], *, clients: int, count: int) -> Sample:
    """`count` requests over `clients` connections, each sending its next one when it has its answer."""
    left = iter(range(count))
    sample = Sample(0.0)

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        for _ in left:
            begun = time.perf_counter()
            status, _, _ = await exchange(reader, writer, next(requests))
            sample.latencies.append(time.perf_counter() - begun)
            sample.statuses[status] = sample.statuses.get(status, 0) + 1
        writer.close()
        await writer.wait_closed()

    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client())
    sample.seconds = time.perf_counter() - begun
    return sample
