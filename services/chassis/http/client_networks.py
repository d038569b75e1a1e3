"""Read the address of a client, and tell the network that limits count it by."""

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# An address alone, in brackets or not, or with a port; an IPv6 address without brackets is tried as a whole first.
ENTRY = re.compile(r"(?:\[(?P<bracketed>[^\[\]]+)\]|(?P<bare>[^\[\]]+?))(?::[0-9]{1,5})?\Z")
MAPPED = (ipaddress.IPv6Network("::ffff:0:0/96"), ipaddress.IPv6Network("64:ff9b::/96"))  # RFC 4291, RFC 6052
IPV6_PREFIX = 64  # what one client has to itself


def parse_ip(text: str | None) -> Address | None:
    """Return the address that a peer or an entry of `X-Forwarded-For` names, None if it names none.

    Ports, brackets, quotes and zone ids are left out; an IPv4 address in the form of an IPv6 one is an IPv4 address.
    """
    entry = (text or "").strip(" \t")
    if len(entry) > 1 and entry[0] == entry[-1] == '"':
        entry = entry[1:-1]
    whole = _address(entry)
    if whole is not None:
        return whole
    match = ENTRY.match(entry)
    return _address(match["bracketed"] or match["bare"]) if match else None


def _address(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return address
    number = int(address)
    if any(number >> 32 == int(prefix.network_address) >> 32 for prefix in MAPPED):
        return ipaddress.IPv4Address(number & 0xFFFF_FFFF)
    return ipaddress.IPv6Address(number)  # without its zone


@lru_cache(maxsize=4096)
def network_of(host: str | None) -> str:
    """Return the network a client is counted by: its IPv4 address, or the /64 that an IPv6 client has to itself."""
    address = parse_ip(host)
    if address is None:
        return "unknown"
    if address.version == 6:
        return str(ipaddress.ip_network((address, IPV6_PREFIX), strict=False))
    return str(address)


class Networks:
    """A set of networks: `parse_ip("::ffff:10.0.0.1") in Networks(["10.0.0.0/8"])`.

    Args:
        listed: addresses or networks, such as `10.0.0.0/8`.

    Raises:
        ValueError: one is neither.
    """

    def __init__(self, listed: Iterable[str]) -> None:
        self._networks = tuple(_unmapped(ipaddress.ip_network(one)) for one in listed)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __contains__(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)


def _unmapped(network: Network) -> Network:
    if isinstance(network, ipaddress.IPv6Network):
        for prefix in MAPPED:
            if network.subnet_of(prefix):
                return ipaddress.IPv4Network((int(network.network_address) & 0xFFFF_FFFF, network.prefixlen - 96))
    return network
