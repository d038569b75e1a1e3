"""Share the connections of a server among its clients, so that the many of one never keep others out.

A connection that waits for its client can be closed: the client loses nothing but time. One that waits for us, such as a
stream, cannot.
"""

import enum
import heapq
from collections.abc import Callable, Iterable
from typing import Protocol

from prometheus_client import Counter

from services.chassis.http.client_networks import Networks, network_of, parse_ip

MAX_CONNECTIONS = 4096
SHARE = 512  # of one network; a quarter of that would be much for an office behind one address
CLOSED_AT_ONCE = 1 / 32  # of the connections searched: a search costs as much as several requests
SEARCH_SECONDS = 0.05  # between two searches of all connections that found nothing

NO_NETWORKS = Networks(())

CLOSED = Counter(
    "rapport_http_connections_closed", "Connections closed to make room for others of a network, or of all.", ["limit"]
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


class ConnectionShares:
    """The open connections of one server.

    Args:
        clock: the time in seconds by which connections tell since when they wait.
        limited: whether a network may have at most `SHARE` connections; only a server of the public needs that.
        exempt: networks of proxies, which have as many as their clients need.
    """

    def __init__(self, clock: Callable[[], float], *, limited: bool = False, exempt: Networks = NO_NETWORKS) -> None:
        self._clock = clock
        self._limited = limited
        self._exempt = exempt
        self._networks: dict[Connection, str] = {}
        self._by_network: dict[str, set[Connection]] = {}
        self._proxied: set[Connection] = set()
        self._next_search = 0.0

    def __len__(self) -> int:
        return len(self._networks) + len(self._proxied)

    def admit(self, connection: Connection, peer: str | None) -> bool:
        """Take a connection in, if there is room for it or if others that wait for their clients can be closed."""
        proxied = bool(self._exempt) and parse_ip(peer) in self._exempt
        network = "" if proxied else network_of(peer)
        of_network = self._by_network.get(network, ())
        if self._limited and len(of_network) >= SHARE and not self._make_room(of_network, "share"):
            return False
        if len(self) >= MAX_CONNECTIONS and not self._make_room_among_all():
            return False
        if proxied:
            self._proxied.add(connection)
        else:
            self._networks[connection] = network
            self._by_network.setdefault(network, set()).add(connection)
        return True

    def leave(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
        self._proxied.discard(connection)
        network = self._networks.pop(connection, None)
        if network is not None:
            left = self._by_network[network]
            left.discard(connection)
            if not left:
                del self._by_network[network]

    def _make_room_among_all(self) -> bool:
        now = self._clock()
        if now < self._next_search:
            return False
        if self._make_room(self._networks, "total") or self._make_room(self._proxied, "total"):
            return True
        self._next_search = now + SEARCH_SECONDS
        return False

    def _make_room(self, connections: Iterable[Connection], why: str) -> bool:
        """Close some of these connections that wait for their clients, those that have waited longest for the least."""
        waiting = [(*wait, id(one), one) for one in connections if (wait := one.waits()) is not None]
        closed = heapq.nsmallest(max(1, int(len(waiting) * CLOSED_AT_ONCE)), waiting)
        for *_, connection in closed:
            self.leave(connection)
            connection.drop()
        CLOSED.labels(why).inc(len(closed))
        return bool(closed)
