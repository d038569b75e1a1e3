"""Origins (RFC 6454) as browsers write them: compared by scheme, host and port, the host in ASCII."""

import ipaddress
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

import idna

from services.chassis.runtime.hosts import is_loopback

DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Origin:
    """A scheme, a host in its normal form, and a port."""

    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the origin of a URL, or of an `Origin` header.

        Raises:
            ValueError: it has none, such as `null`.
        """
        parts = urlsplit(text)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme)
        if not parts.hostname or port is None:
            raise ValueError("no origin")
        return cls(parts.scheme, normal_host(parts.hostname), port)

    @classmethod
    def of(cls, scheme: str, authority: str) -> Self:
        """Return the origin of a scheme and a `Host` header.

        Raises:
            ValueError: the header names no host.
        """
        return cls.parse(f"{scheme}://{authority}")

    @property
    def is_loopback(self) -> bool:
        """Whether it names this machine."""
        return is_loopback(self.host)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == DEFAULT_PORTS.get(self.scheme) else f":{self.port}")


def normal_host(host: str) -> str:
    """Return a host as browsers write it: in lower case, names in ASCII (UTS 46), IPv6 shortened (RFC 5952).

    Raises:
        ValueError: it is not a host.
    """
    if ":" in host:
        address = ipaddress.IPv6Address(host)
        mapped = address.ipv4_mapped  # Python's versions write it differently, browsers in hexadecimal
        return f"::ffff:{int(mapped) >> 16:x}:{int(mapped) & 0xFFFF:x}" if mapped else address.compressed
    if host.isascii():
        return host.lower()
    return idna.encode(host, uts46=True).decode("ascii")
