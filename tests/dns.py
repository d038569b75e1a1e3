"""A name server for tests, as Docker's: it answers every question for an address with the same addresses."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import cast

ADDRESS = 1  # of IPv4 (RFC 1035, section 3.2.2)


class Names(asyncio.DatagramProtocol):
    """Answers with `addresses`, which a test may change.

    Attributes:
        port: where it listens on 127.0.0.1.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        self.addresses = list(addresses)
        self.port = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # no instance of it before Python 3.12
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        end = data.index(0, 12) + 5  # of the question: its name, type and class
        kind = struct.unpack_from(">H", data, end - 4)[0]
        found = [socket.inet_aton(address) for address in self.addresses] if kind == ADDRESS else []
        header = data[:2] + struct.pack(">HHHHH", 0x8180, 1, len(found), 0, 0)
        records = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", ADDRESS, 1, 1, 4) + one for one in found)
        self._transport.sendto(header + data[12:end] + records, addr)


@asynccontextmanager
async def name_server(addresses: Sequence[str]) -> AsyncIterator[Names]:
    """Run it inside the block."""
    transport, names = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Names(addresses), local_addr=("127.0.0.1", 0)
    )
    try:
        yield names
    finally:
        transport.close()
