"""Share the connections of a server among its clients, so that the many of one never keep others out.

A connection that waits for its client can be closed: the client loses nothing but time. One that waits for us cannot,
such as a stream.
"""

import enum
import heapq
from collections.abc import Callable, Iterable
from typing import Protocol

from services.chassis.http.client_networks import Networks, network_of, parse_ip
from services.chassis.runtime.metrics import Counter

MAX_CONNECTIONS = 4096
SHARE = 512  # of one network; a quarter of that would be much for an office behind one address
CLOSED_AT_ONCE = 1 / 8  # of the connections searched
UNREAD_BYTES = 64 * 2**20  # of responses that clients do not read; beyond it, those unread for longest are given up
# Between two searches. Who opens connections faster than others are closed costs least if refused.
SEARCH_SECONDS = 0.1  # of all
SHARE_SEARCH_SECONDS = 0.5  # of one network

NO_NETWORKS = Networks(())
PROXIES = "proxies"  # the name of their group; the others' are their networks

CLOSED = Counter(
    "rapport_http_connections_closed",
    "Connections closed to make room for others of a network, or of all, or because nobody read from them.",
    ["limit"],
)


class Wait(enum.IntEnum):
    """What a connection waits for its client to do; the first are closed first."""

    TO_LEAVE = enum.auto()
    TO_ASK = enum.auto()  # idle: its requests are answered
    TO_SEND_HEADERS = enum.auto()
    TO_SEND_BODY = enum.auto()
    TO_READ = enum.auto()


class Connection(Protocol):
    """What is asked of a connection."""

    def waits(self) -> tuple[Wait, float] | None:
        """Return what the client is to do, and a time that is less the longer it takes; None if it waits for us."""

    def drop(self) -> None:
        """Close the connection without an answer, at once."""


class Group:
    """The connections of one network, or of all proxies."""

    def __init__(self) -> None:
        self.connections: set[Connection] = set()
        self.next_search = 0.0


class ConnectionShares:
    """The open connections of one server.

    Args:
        clock: the time in seconds.
        limited: whether a network has at most `SHARE` connections, and clients leave at most `UNREAD_BYTES` unread;
            only a server of the public needs that.
        exempt: networks of proxies, which have as many as their clients need.
    """

    def __init__(self, clock: Callable[[], float], *, limited: bool = False, exempt: Networks = NO_NETWORKS) -> None:
        self._clock = clock
        self._limited = limited
        self._exempt = exempt
        self._groups: dict[str, Group] = {}
        self._group_of: dict[Connection, str] = {}
        self._next_search = 0.0
        self._unread: dict[Connection, int] = {}  # those unread for longest first
        self._unread_bytes = 0

    def __len__(self) -> int:
        return len(self._group_of)

    def admit(self, connection: Connection, peer: str | None) -> bool:
        """Take a connection in, if there is room for it or if others that wait for their clients can be closed."""
        name = PROXIES if self._exempt and parse_ip(peer) in self._exempt else network_of(peer)
        group = self._groups.get(name) or Group()
        has_share = self._limited and name != PROXIES
        if has_share and len(group.connections) >= SHARE and not self._make_room_in(group):
            return False
        if len(self) >= MAX_CONNECTIONS and not self._make_room_in_all():
            return False
        group.connections.add(connection)
        self._groups[name] = group
        self._group_of[connection] = name
        return True

    def leave(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
        self.read_on(connection)
        name = self._group_of.pop(connection, None)
        if name is not None:
            group = self._groups[name]
            group.connections.discard(connection)
            if not group.connections:
                del self._groups[name]

    def stop_reading(self, connection: Connection, size: int) -> None:
        """Note that a client has stopped reading, `size` bytes before the end of what was written."""
        self.read_on(connection)
        self._unread[connection] = size
        self._unread_bytes += size
        while self._limited and self._unread_bytes > UNREAD_BYTES:
            longest = next(iter(self._unread))
            self.leave(longest)
            longest.drop()
            CLOSED.labels("unread").inc()

    def read_on(self, connection: Connection) -> None:
        """Note that a client reads again."""
        self._unread_bytes -= self._unread.pop(connection, 0)

    def _make_room_in(self, group: Group) -> bool:
        now = self._clock()
        if now < group.next_search:
            return False
        group.next_search = now + SHARE_SEARCH_SECONDS
        return self._close_some(group.connections, "share")

    def _make_room_in_all(self) -> bool:
        now = self._clock()
        if now < self._next_search:
            return False
        self._next_search = now + SEARCH_SECONDS
        proxied = self._groups.get(PROXIES, Group()).connections
        return self._close_some(self._group_of.keys() - proxied, "total") or self._close_some(proxied, "total")

    def _close_some(self, connections: Iterable[Connection], why: str) -> bool:
        """Close some of these connections that wait for their clients: those that lose least, and wait longest."""
        waiting = [(*wait, id(one), one) for one in connections if (wait := one.waits()) is not None]
        closed = heapq.nsmallest(max(1, int(len(waiting) * CLOSED_AT_ONCE)), waiting)
        for *_, connection in closed:
            self.leave(connection)
            connection.drop()
        CLOSED.labels(why).inc(len(closed))
        return bool(closed)
