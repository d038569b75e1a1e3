"""A minimal HTTP/1.1 client over persistent connections, for calls between services.

A full client library costs more than all other work of the caller for a small request. Left out on purpose: redirects,
cookies, content codings, HEAD, pipelining, and responses delimited by the end of the connection.
"""

import asyncio
import ssl
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import Protocol, Self

import httptools
from starlette.datastructures import Headers

IDLE_SECONDS = 30.0  # shorter than the servers' keep-alive, else a request may meet a connection that is being closed
MAX_CONNECTIONS = 256  # to one origin
BODILESS = frozenset({"GET", "DELETE", "OPTIONS"})


class MalformedResponse(OSError):
    """The received bytes are not an HTTP response."""


@dataclass(frozen=True)
class Origin:
    """The address of a service."""

    host: str
    port: int
    tls: bool = False

    @property
    def authority(self) -> str:
        """Return the value of the `Host` header."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class RawResponse:
    """One complete response."""

    status: int
    headers: Mapping[str, str]
    data: bytes


class Transport(Protocol):
    """A way on which the requests of one caller reach services. Its creator closes it."""

    async def request(
        self, origin: Origin, method: str, target: str, headers: Mapping[str, str], data: bytes | None
    ) -> RawResponse:
        """Send one request and return its response; see `ConnectionPool.request`."""

    async def close(self) -> None:
        """End it; requests under way fail."""


class ConnectionPool:
    """The outgoing connections of one process, for one event loop. The creator of the pool closes it."""

    def __init__(self) -> None:
        self._idle: dict[Origin, list[_Connection]] = defaultdict(list)
        self._slots: dict[Origin, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(MAX_CONNECTIONS))
        self._open: set[_Connection] = set()
        self.closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Abort all connections, also those with a request in progress."""
        self.closed = True
        for connection in list(self._open):
            connection.abort()

    async def request(
        self, origin: Origin, method: str, target: str, headers: Mapping[str, str], data: bytes | None
    ) -> RawResponse:
        """Send one request and return its response. Cancelling aborts the connection.

        Args:
            target: path and query, percent-encoded.

        Raises:
            ConnectionError: the connection could not be made, or broke before the response was complete.
            OSError: another failure of the network, or `MalformedResponse`.
            ValueError: see `encode_request`.
        """
        encoded = encode_request(origin, method, target, headers, data)
        async with self._slots[origin]:
            connection = self._take_idle(origin) or await self._connect(origin)
            try:
                response = await connection.request(encoded)
            except BaseException:
                connection.abort()
                raise
            if connection.usable:
                self._idle[origin].append(connection)
            else:
                connection.abort()
            return response

    def _take_idle(self, origin: Origin) -> "_Connection | None":
        """Return the most recently used connection that is still usable."""
        idle = self._idle[origin]
        while idle:
            connection = idle.pop()
            if connection.usable and connection.idle_for < IDLE_SECONDS:
                return connection
            connection.abort()
        return None

    async def _connect(self, origin: Origin) -> "_Connection":
        if self.closed:
            raise ConnectionError("the connection pool is closed")
        loop = asyncio.get_running_loop()
        context = _tls_context() if origin.tls else None
        _, connection = await loop.create_connection(
            lambda: _Connection(loop, self._open), origin.host, origin.port, ssl=context
        )
        return connection


@cache
def _tls_context() -> ssl.SSLContext:
    return ssl.create_default_context()


def encode_request(origin: Origin, method: str, target: str, headers: Mapping[str, str], data: bytes | None) -> bytes:
    """Return a request as bytes.

    Raises:
        ValueError: a line break or NUL stands in it, or a space in the target.
    """
    lines = [f"{method} {target} HTTP/1.1", f"Host: {origin.authority}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if data is not None or method not in BODILESS:
        lines.append(f"Content-Length: {len(data or b'')}")
    head = "\r\n".join(lines)
    if not len(lines) - 1 == head.count("\r") == head.count("\n") or "\0" in head or " " in target:
        raise ValueError("the request has a line break or NUL in a line, or a space in its target")
    return head.encode() + b"\r\n\r\n" + (data or b"")


class _Connection(asyncio.Protocol):
    """One connection with at most one request in progress."""

    def __init__(self, loop: asyncio.AbstractEventLoop, open_connections: "set[_Connection]") -> None:
        self._loop = loop
        self._open = open_connections
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[RawResponse] | None = None
        self._last_used = 0.0
        self._keep_alive = True
        self._parser = httptools.HttpResponseParser(self)
        self._headers: list[tuple[bytes, bytes]] = []
        self._chunks: list[bytes] = []

    @property
    def usable(self) -> bool:
        """Return whether another request may be sent."""
        return self._keep_alive and self._waiter is None and self._transport is not None

    @property
    def idle_for(self) -> float:
        """Return the seconds since the last response."""
        return self._loop.time() - self._last_used

    async def request(self, encoded: bytes) -> RawResponse:
        if self._transport is None:
            raise ConnectionResetError("the connection was closed")
        self._waiter = self._loop.create_future()
        self._transport.write(encoded)
        return await self._waiter

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # always a Transport
        self._transport = transport
        self._open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._open.discard(self)
        self._fail(ConnectionResetError("the connection was closed before the response was complete"))

    def data_received(self, data: bytes) -> None:
        if self._waiter is None:  # no request is in progress
            self._keep_alive = False
            self.abort()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._keep_alive = False
            self._fail(MalformedResponse(str(error)))

    def _fail(self, error: Exception) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)

    def on_message_begin(self) -> None:
        if self._waiter is None:  # a second response to one request
            self._keep_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_body(self, chunk: bytes) -> None:
        self._chunks.append(chunk)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:  # an informational response; the final one follows
            self._headers, self._chunks = [], []
            return
        waiter, self._waiter = self._waiter, None
        self._keep_alive = self._keep_alive and self._parser.should_keep_alive()
        self._last_used = self._loop.time()
        response = RawResponse(status, Headers(raw=self._headers), b"".join(self._chunks))
        self._headers, self._chunks = [], []
        if waiter is not None and not waiter.done():
            waiter.set_result(response)
