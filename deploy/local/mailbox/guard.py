"""Who may use the mailbox: the user who runs it, by a name of this machine. Its mails contain links that sign in."""

import ipaddress
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
TCP_TABLE = Path("/proc/net/tcp")
LOCAL, REMOTE, OWNER = 1, 2, 7  # columns of the table
ROOT = 0

Address = tuple[str, int]


@web.middleware
async def only_for_its_owner(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Refuse requests under another host name, as of a page that names this address its own (DNS rebinding), and
    requests of other users of this machine."""
    transport = request.transport
    if transport is None:
        raise web.HTTPForbidden
    own: Address = transport.get_extra_info("sockname")
    if request.headers.getall("Host", []) not in [[f"{name}:{own[1]}"] for name in LOOPBACK_NAMES]:
        raise web.HTTPForbidden(text=f"This mailbox is at http://127.0.0.1:{own[1]}/ only.\n")
    if not is_this_user(transport.get_extra_info("peername"), own):
        raise web.HTTPForbidden(text="This mailbox belongs to another user of this machine.\n")
    return await handler(request)


def is_this_user(peer: Address, own: Address, table: Path = TCP_TABLE) -> bool:
    """Return whether a process of this user or of root is at the other end of a connection.

    Everybody may where the kernel shows no such table or not even our own end in it: a system other than Linux, or a
    sandbox.
    """
    try:
        rows = [line.split() for line in table.read_text().splitlines()[1:]]
    except OSError:
        return True
    owners = {(row[LOCAL], row[REMOTE]): int(row[OWNER]) for row in rows}
    here, there = _hexadecimal(own), _hexadecimal(peer)
    return (here, there) not in owners or owners.get((there, here)) in (ROOT, os.geteuid())


def _hexadecimal(address: Address) -> str:
    """Return an address as the table spells it: the bytes of IPv4 in the machine's order."""
    return f"{socket.ntohl(int(ipaddress.IPv4Address(address[0]))):08X}:{address[1]:04X}"
