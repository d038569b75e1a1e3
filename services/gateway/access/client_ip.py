"""Find the address of a client behind proxies; only those that the operator named are believed."""

import ipaddress
from collections.abc import Iterable, Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ClientAddresses:
    """Tells a client's address from the proxies in front of this gateway.

    Args:
        trusted: addresses or networks of the proxies, such as `10.0.0.0/8`.

    Raises:
        ValueError: one is neither.
    """

    def __init__(self, trusted: Iterable[str]) -> None:
        self._trusted: tuple[Network, ...] = tuple(ipaddress.ip_network(one) for one in trusted)

    def client(self, peer: str | None, forwarded: Sequence[str]) -> str | None:
        """Return the address nearest to us that is not a trusted proxy.

        Args:
            peer: the address that opened the connection.
            forwarded: the lines of `X-Forwarded-For`; each proxy appends the address it was called from.
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


def network_of(host: str | None) -> str:
    """Return the network a client is counted by: its IPv4 address, or the /64 that an IPv6 client has to itself."""
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return "unknown"
    if address.version == 6:
        mapped = address.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
