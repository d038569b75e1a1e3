"""A TCP proxy in front of a server that makes the network slow, silent or broken."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

from tests.waiting import eventually

CHUNK = 65536
RESETTING = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST


@dataclass(eq=False)
class _Link:
    """One connection from a client to the server; `asked` while the client sent last."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter | None = None
    asked: bool = False

    def close(self) -> None:
        for writer in (self.client, self.server):
            if writer is not None:
                writer.transport.abort()

    def reset(self) -> None:
        self.client.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESETTING)
        self.close()


@dataclass
class FaultProxy:
    """A TCP proxy. A change of `mode` or `delay` applies to the next bytes, in both directions.

    Attributes:
        mode: `pass`; `drop` discards what is sent and keeps the connection open; `reset` is set by `reset` only.
        delay: seconds by which everything arrives later; it does not limit the throughput.
        asks: how often clients sent a request.
        most_asked: greatest number of connections that waited for the server at one time.
    """

    target: int
    port: int = 0
    mode: Literal["pass", "drop", "reset"] = "pass"
    delay: float = 0.0
    asks: int = 0
    most_asked: int = 0
    _links: set[_Link] = field(default_factory=set)

    @property
    def connections(self) -> int:
        """Return the number of open connections."""
        return len(self._links)

    def reset(self) -> None:
        """Reset all connections; reset new ones at once."""
        self.mode = "reset"
        for link in list(self._links):
            link.reset()

    def heal(self) -> None:
        self.mode, self.delay = "pass", 0.0

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until either side ends it."""
        link = _Link(writer)
        self._links.add(link)
        try:
            if self.mode == "reset":
                link.reset()
                return
            answers, link.server = await asyncio.open_connection("127.0.0.1", self.target)

            def client_sent() -> None:
                self.asks += 1
                link.asked = True
                self.most_asked = max(self.most_asked, sum(1 for each in self._links if each.asked))

            def answered() -> None:
                link.asked = False

            there = asyncio.create_task(self._pass_on(reader, link.server, client_sent))
            back = asyncio.create_task(self._pass_on(answers, writer, answered))
            try:
                await asyncio.wait([there, back], return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (there, back):
                    task.cancel()
                await asyncio.gather(there, back, return_exceptions=True)
        except OSError:
            pass  # the server is unreachable, so the connection ends
        finally:
            self._links.discard(link)
            link.close()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, noticed: Callable[[], None]
    ) -> None:
        loop = asyncio.get_running_loop()
        while data := await reader.read(CHUNK):
            noticed()
            if self.mode == "drop":
                continue
            if self.delay:
                loop.call_later(self.delay, _write, writer, data)
            else:
                _write(writer, data)


def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    if not writer.is_closing():
        writer.write(data)


@asynccontextmanager
async def fault_proxy(target: int) -> AsyncIterator[FaultProxy]:
    """Open a proxy to a port of 127.0.0.1 inside the block."""
    proxy = FaultProxy(target)
    server = await asyncio.start_server(proxy.carry, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        for link in list(proxy._links):
            link.close()
        await eventually(lambda: not proxy._links)
        await server.wait_closed()
