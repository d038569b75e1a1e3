"""Whose request it is when it came through proxies: believed only from those that the operator named."""

import ipaddress
from collections.abc import Iterable, Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ClientAddresses:
    """The proxies in front of this gateway.

    Args:
        trusted: their addresses or networks, such as `10.0.0.0/8`.

    Raises:
        ValueError: one is neither.
    """

    def __init__(self, trusted: Iterable[str]) -> None:
        self._trusted: tuple[Network, ...] = tuple(ipaddress.ip_network(one) for one in trusted)

    def client(self, peer: str | None, forwarded: Sequence[str]) -> str | None:
        """The address nearest to us that is not a trusted proxy.

        Args:
            peer: who opened the connection.
            forwarded: the lines of `X-Forwarded-For`; each hop wrote at the end whom it had heard from.
        """
        hops = [hop.strip() for line in forwarded for hop in line.split(",")] if self._trusted else []
        client = peer
        while hops and self._trusts(client):
            client = hops.pop()
        return client

    def _trusts(self, host: str | None) -> bool:
        try:
            address = ipaddress.ip_address(host or "")
        except ValueError:
            return False
        return any(address in network for network in self._trusted)
