"""Who may use the mailbox: the user who runs it, by a name of this machine. Its mails contain links that sign in."""

import ipaddress
import os
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from aiohttp import web

from services.chassis.runtime.hosts import is_loopback

WITH_PORT = re.compile(r"([\w.-]+|\[[0-9a-fA-F:.]+\]):([0-9]{1,5})", re.ASCII)
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
    if not names_this_server(request.headers.getall("Host", []), own[1]):
        raise web.HTTPForbidden(text=f"This mailbox is at http://127.0.0.1:{own[1]}/ only.\n")
    if not is_this_user(transport.get_extra_info("peername"), own):
        raise web.HTTPForbidden(text="This mailbox belongs to another user of this machine.\n")
    return await handler(request)


def names_this_server(hosts: Sequence[str], port: int) -> bool:
    """Return whether there is one `Host`, and it is a name of this machine with that port."""
    found = WITH_PORT.fullmatch(hosts[0]) if len(hosts) == 1 else None
    return found is not None and is_loopback(found[1]) and int(found[2]) == port


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
