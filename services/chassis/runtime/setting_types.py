"""Types of settings. Each refuses a value that could not work, with the words that follow "it"."""

import ipaddress
import json
import re
import ssl
from collections.abc import Callable
from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from services.chassis.runtime.hosts import is_loopback

PORT_TEXT = re.compile(r"[0-9]{1,5}\Z")
HOST_TEXT = re.compile(r"[^\s:/?#@\[\]]+\Z")
RETURN_HOST = re.compile(r"[A-Za-z0-9.-]+\Z|\[[0-9A-Fa-f:.]+\]\Z")  # as it may stand in a Content-Security-Policy
PRINTABLE = re.compile(r"[!-~]+\Z")
BRACKETED = re.compile(r"\[([0-9A-Fa-f:.]+)(%[^\]]+)?\]\Z")

Text = Annotated[str, Field(min_length=1)]
Port = Annotated[int, Field(ge=1, le=65535)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Days = Annotated[int, Field(ge=1, le=36_500)]
Seconds = Annotated[float, Field(gt=0, le=10_000_000, allow_inf_nan=False)]  # of a timeout
Pause = Annotated[float, Field(ge=0, le=10_000_000, allow_inf_nan=False)]


def split_host(text: str) -> tuple[str, int | None]:
    """Split `host`, `host:port`, `[IPv6]` or `[IPv6]:port`.

    Raises:
        ValueError: it is none of these.
    """
    host, port = text, ""
    if not BRACKETED.match(text):
        head, colon, tail = text.rpartition(":")
        host, port = (head, tail) if colon else (text, "")
        if colon and not (PORT_TEXT.match(port) and 0 < int(port) < 65536):
            raise ValueError("has a port that is not a number from 1 to 65535")
    bracketed = BRACKETED.match(host)
    if bracketed:
        ipaddress.IPv6Address(bracketed[1])
    elif not HOST_TEXT.match(host):
        raise ValueError("names no host")
    return host, int(port) if port else None


def _split(text: str, schemes: tuple[str, ...], example: str) -> SplitResult:
    """Split an address and check its scheme and every host.

    Raises:
        ValueError: it cannot work; the message does not repeat the text, which may contain a password.
    """
    try:
        parts = urlsplit(text)
        hosts = parts.netloc.rpartition("@")[2]
        if parts.scheme.lower() not in schemes or any(space in text for space in " \t\r\n"):
            raise ValueError("scheme")
        if hosts or parts.scheme.lower() in ("http", "https"):
            for host in hosts.split(",") if parts.scheme.startswith("postgres") else [hosts]:
                split_host(host)
    except ValueError:
        raise ValueError(f"is not an address such as {example}") from None
    return parts


def _public_url(text: str) -> str:
    parts = _split(text, ("http", "https"), "https://blog.example")
    if parts.path not in ("", "/"):
        raise ValueError("has a path: Rapport is served at the root of its host, such as https://blog.example")
    if parts.query or parts.fragment or "?" in text or "#" in text or "@" in parts.netloc:
        raise ValueError("must be scheme and host alone, such as https://blog.example")
    return text.rstrip("/")


def check_service_url(text: str) -> str:
    """Return the base address of a service.

    Raises:
        ValueError: it is not one.
    """
    parts = _split(text, ("http", "https"), "http://host:8101")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("must be scheme, host and port, such as http://host:8101")
    return text


def _database_url(text: str) -> str:
    example = "postgresql://role:password@host:5432/database (in a password write %23 for #, %2F for /, %40 for @)"
    if _split(text, ("postgresql", "postgres"), example).fragment:
        raise ValueError(f"is not an address such as {example}")
    return text


def _direct_url(text: str) -> str:
    return _database_url(text) if text else text


def _redis_url(text: str) -> str:
    example = "redis://host:6379/0"
    parts = _split(text, ("redis", "rediss", "unix"), example)
    is_socket = parts.scheme == "unix"
    if parts.fragment or not (parts.path if is_socket else parts.netloc and re.match(r"/?[0-9]*\Z", parts.path)):
        raise ValueError(f"is not an address such as {example}")
    return text


def _kafka_servers(text: str) -> str:
    servers = [server.strip() for server in text.split(",")]
    try:
        for server in servers:
            split_host(server)
    except ValueError:
        raise ValueError("is not a list such as broker1:9092,broker2:9092") from None
    return ",".join(servers)


def _authorities_file(text: str) -> str:
    if text:
        try:
            ssl.create_default_context(cafile=text)
        except OSError:  # also of what is no certificate
            raise ValueError("is not a file with certificates of authorities") from None
    return text


def _return_url(text: str) -> str:
    parts = urlsplit(text)
    host, _ = split_host(parts.netloc)
    safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
    if not safe or not RETURN_HOST.match(host):
        raise ValueError("host")
    if not PRINTABLE.match(text) or "#" in text:
        raise ValueError("characters")
    return text


def _return_urls(text: str) -> str:
    try:
        return ",".join(_return_url(one) for one in (entry.strip() for entry in text.split(",")) if one)
    except ValueError:
        raise ValueError(
            "is not a list of pages such as https://front.example/signed-in, in ASCII, without a fragment; "
            "http is for this machine's own addresses"
        ) from None


def _key_set(text: str) -> str:
    try:
        keys = json.loads(text)["keys"]
    except (ValueError, KeyError, TypeError):
        keys = None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise ValueError("is not a JSON Web Key Set; `rapport keys` prints one")
    return text


def _networks(text: str) -> str:
    try:
        found = [ipaddress.ip_network(one, strict=False) for one in filter(None, text.replace(" ", "").split(","))]
    except ValueError:
        raise ValueError("is not a list of addresses and networks such as 10.0.0.0/8,::1") from None
    return ",".join(map(str, found))


def _upper(value: object) -> object:
    return value.strip().upper() if isinstance(value, str) else value


def key_of(parse: Callable[[str], object]) -> AfterValidator:
    """Return the validator of a private key that `parse` reads. An empty one is left to the role that needs it."""

    def check(text: str) -> str:
        if text:
            try:
                parse(text)
            except (ValueError, TypeError, KeyError):
                raise ValueError("is not the private key of its service; `rapport keys` prints a set") from None
        return text

    return AfterValidator(check)


PublicUrl = Annotated[str, AfterValidator(_public_url)]
DatabaseUrl = Annotated[str, AfterValidator(_database_url)]
DirectUrl = Annotated[str, AfterValidator(_direct_url)]  # empty: there is no other address
RedisUrl = Annotated[str, AfterValidator(_redis_url)]
KafkaServers = Annotated[str, AfterValidator(_kafka_servers)]
KafkaProtocol = Annotated[Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], BeforeValidator(_upper)]
KafkaMechanism = Annotated[Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], BeforeValidator(_upper)]
AuthoritiesFile = Annotated[str, AfterValidator(_authorities_file)]
ReturnUrls = Annotated[str, AfterValidator(_return_urls)]
KeySet = Annotated[str, AfterValidator(_key_set)]
NetworkList = Annotated[str, AfterValidator(_networks)]
LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)]
