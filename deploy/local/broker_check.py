"""A check of a Kafka broker in its own protocol, without a client library: quick, and silent while it starts."""

import socket
import struct

METADATA, METADATA_VERSION = 3, 4
SASL_HANDSHAKE, SASL_HANDSHAKE_VERSION = 17, 1
SASL_AUTHENTICATE, SASL_AUTHENTICATE_VERSION = 36, 0


def lists_a_broker(host: str, port: int, timeout: float = 2, account: tuple[str, str] | None = None) -> bool:
    """Return whether a Metadata request is answered with at least one broker; an open port proves nothing.

    Args:
        account: name and password, for SASL PLAIN before the request.
    """
    try:
        with socket.create_connection((host, port), timeout) as connection:
            connection.settimeout(timeout)
            if account is not None and not _is_accepted(connection, *account):
                return False
            # no topics, do not create any; the answer: throttle time, number of brokers
            answer = _ask(connection, METADATA, METADATA_VERSION, struct.pack(">i?", 0, False))
            return int(struct.unpack_from(">ii", answer)[1]) > 0
    except (OSError, struct.error):
        return False


def _is_accepted(connection: socket.socket, name: str, password: str) -> bool:
    plain = b"PLAIN"
    handshake = _ask(
        connection, SASL_HANDSHAKE, SASL_HANDSHAKE_VERSION, struct.pack(f">h{len(plain)}s", len(plain), plain)
    )
    token = f"\0{name}\0{password}".encode()
    if struct.unpack_from(">h", handshake)[0] != 0:
        return False
    answer = _ask(connection, SASL_AUTHENTICATE, SASL_AUTHENTICATE_VERSION, struct.pack(">i", len(token)) + token)
    return bool(struct.unpack_from(">h", answer)[0] == 0)


def _ask(connection: socket.socket, key: int, version: int, body: bytes) -> bytes:
    """Send a request with header version 1 (api key, version, correlation id, client id); return the answer's body."""
    client = b"local"
    request = struct.pack(">hhih", key, version, 1, len(client)) + client + body
    connection.sendall(struct.pack(">i", len(request)) + request)
    (size,) = struct.unpack(">i", _read(connection, 4))
    return _read(connection, size)[4:]  # without the correlation id


def _read(connection: socket.socket, size: int) -> bytes:
    """Read exactly so many bytes.

    Raises:
        ConnectionError: the connection was closed before.
    """
    found = bytearray()
    while len(found) < size:
        part = connection.recv(size - len(found))
        if not part:
            raise ConnectionError("closed by the broker")
        found += part
    return bytes(found)
