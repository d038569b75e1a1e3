"""Find the address of a client behind proxies; only those that the operator named are believed.

`X-Forwarded-For` alone is read: proxies that write it pass a `Forwarded` of the client on as it came.
"""

from collections.abc import Sequence

from services.chassis.http.client_networks import Networks, parse_ip


class ClientAddresses:
    """Tells a client's address from the proxies in front of this gateway.

    Args:
        trusted: the proxies.
    """

    def __init__(self, trusted: Networks) -> None:
        self._trusted = trusted

    def client(self, peer: str | None, forwarded: Sequence[str]) -> str | None:
        """Return the address nearest to us that is not a trusted proxy; the peer if a proxy wrote no address there.

        Args:
            peer: the address that opened the connection.
            forwarded: the lines of `X-Forwarded-For`; each proxy appends the address it was called from.
        """
        if not forwarded or not self._trusted or parse_ip(peer) not in self._trusted:
            return peer
        nearest = peer
        for hop in reversed([hop for line in forwarded for hop in line.split(",") if hop.strip(" \t")]):
            address = parse_ip(hop)
            if address is None:
                return peer
            nearest = str(address)
            if address not in self._trusted:
                break
        return nearest
