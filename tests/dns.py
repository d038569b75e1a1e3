"""A name server for tests, as Docker's: it answers every question for an address with the same addresses.

It also has texts (TXT records), by name.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import cast

ADDRESS, TEXT = 1, 16  # types of records (RFC 1035, section 3.2.2)


class Names(asyncio.DatagramProtocol):
    """Answers with `addresses` and `texts`, which a test may change.

    Attributes:
        port: where it listens on 127.0.0.1.
    """

    def __init__(self, addresses: Sequence[str], texts: Mapping[str, Sequence[str]] | None = None) -> None:
        self.addresses = list(addresses)
        self.texts = dict(texts or {})
        self.port = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # no instance of it before Python 3.12
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        end = data.index(0, 12) + 5  # of the question: its name, type and class
        kind = struct.unpack_from(">H", data, end - 4)[0]
        found: list[bytes] = []
        if kind == ADDRESS:
            found = [socket.inet_aton(address) for address in self.addresses]
        elif kind == TEXT:
            found = [_text(text) for text in self.texts.get(_name(data[12 : end - 4]), ())]
        header = data[:2] + struct.pack(">HHHHH", 0x8180, 1, len(found), 0, 0)
        records = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 1, len(one)) + one for one in found)
        self._transport.sendto(header + data[12:end] + records, addr)


def _name(labels: bytes) -> str:
    """Return the name that a question begins with."""
    found, at = [], 0
    while length := labels[at]:
        found.append(labels[at + 1 : at + 1 + length].decode())
        at += 1 + length
    return ".".join(found).lower()


def _text(text: str) -> bytes:
    data = text.encode()
    return bytes([len(data)]) + data


@asynccontextmanager
async def name_server(
    addresses: Sequence[str], texts: Mapping[str, Sequence[str]] | None = None
) -> AsyncIterator[Names]:
    """Run it inside the block."""
    transport, names = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Names(addresses, texts), local_addr=("127.0.0.1", 0)
    )
    try:
        yield names
    finally:
        transport.close()
