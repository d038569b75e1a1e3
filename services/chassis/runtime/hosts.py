"""Hosts as addresses and settings name them."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Return whether a host names this machine: an address of it, or a name below `localhost` (RFC 6761, 6.3).

    Args:
        host: a name or an address without port; one of IPv6 with or without its brackets.
    """
    name = host.lower().removesuffix(".")  # of a name from the root
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name[1:-1] if name.startswith("[") and name.endswith("]") else name)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback  # versions of Python differ on mapped ones
