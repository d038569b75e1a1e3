"""HTTP/1.1 to services, over connections that are kept: as little as one service needs to ask another.

A client library that can do more costs more than everything else the caller does for a small request. What is left out
on purpose: redirects, cookies, content codings, HEAD, requests one after another without waiting, and answers that end
only where the connection does.
"""

import asyncio
import ssl
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import Self

import httptools
from starlette.datastructures import Headers

IDLE_SECONDS = 30.0  # less than the servers keep one, else a request meets a connection that is being closed
MOST = 256  # connections to one origin
BODILESS = frozenset({"GET", "DELETE", "OPTIONS"})


class Malformed(OSError):
    """What came back is not an HTTP answer."""


@dataclass(frozen=True)
class Origin:
    """Where a service listens."""

    host: str
    port: int
    tls: bool = False

    @property
    def authority(self) -> str:
        """For the `Host` header."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Received:
    """One answer, whole."""

    status: int
    headers: Mapping[str, str]
    data: bytes


class ConnectionPool:
    """The connections of one process; whoever makes them closes them. For one event loop."""

    def __init__(self) -> None:
        self._idle: dict[Origin, list[_Connection]] = defaultdict(list)
        self._room: dict[Origin, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(MOST))
        self._all: set[_Connection] = set()
        self.closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End them all, also those that somebody waits on."""
        self.closed = True
        for connection in list(self._all):
            connection.end()

    async def ask(
        self, origin: Origin, method: str, target: str, headers: Mapping[str, str], data: bytes | None
    ) -> Received:
        """One request and its answer. Cancelling ends the connection it is on.

        Args:
            target: path and query, percent-encoded.

        Raises:
            ConnectionError: the connection could not be made, or broke before the answer was whole.
            OSError: another failure of the network; `Malformed`.
            ValueError: a header, or the target, would end its line.
        """
        request = written(origin, method, target, headers, data)
        async with self._room[origin]:
            connection = self._take(origin) or await self._connect(origin)
            try:
                received = await connection.ask(request)
            except BaseException:
                connection.end()
                raise
            if connection.usable:
                self._idle[origin].append(connection)
            else:
                connection.end()
            return received

    def _take(self, origin: Origin) -> "_Connection | None":
        """The connection that was used last, if it is young enough."""
        idle = self._idle[origin]
        while idle:
            connection = idle.pop()
            if connection.usable and connection.idle_for < IDLE_SECONDS:
                return connection
            connection.end()
        return None

    async def _connect(self, origin: Origin) -> "_Connection":
        if self.closed:
            raise ConnectionError("no more connections are made")
        loop = asyncio.get_running_loop()
        context = _tls() if origin.tls else None
        _, connection = await loop.create_connection(
            lambda: _Connection(loop, self._all), origin.host, origin.port, ssl=context
        )
        return connection


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def written(origin: Origin, method: str, target: str, headers: Mapping[str, str], data: bytes | None) -> bytes:
    """A request as bytes.

    Raises:
        ValueError: something in it would end its line.
    """
    lines = [f"{method} {target} HTTP/1.1", f"Host: {origin.authority}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if data is not None or method not in BODILESS:
        lines.append(f"Content-Length: {len(data or b'')}")
    head = "\r\n".join(lines)
    if not len(lines) - 1 == head.count("\r") == head.count("\n") or "\0" in head or " " in target:
        raise ValueError("a line of the request has an end within it")
    return head.encode() + b"\r\n\r\n" + (data or b"")


class _Connection(asyncio.Protocol):
    """One connection, and at most one request under way on it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, register: "set[_Connection]") -> None:
        self._loop = loop
        self._register = register
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Received] | None = None
        self._since = 0.0
        self._keeps = True
        self._begin()

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: list[tuple[bytes, bytes]] = []
        self._chunks: list[bytes] = []

    @property
    def usable(self) -> bool:
        """Whether another request may be sent."""
        return self._keeps and self._waiter is None and self._transport is not None

    @property
    def idle_for(self) -> float:
        """Seconds since its last answer."""
        return self._loop.time() - self._since

    async def ask(self, request: bytes) -> Received:
        if self._transport is None:
            raise ConnectionResetError("the connection was closed")
        self._waiter = self._loop.create_future()
        self._transport.write(request)
        return await self._waiter

    def end(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # what it is made with
        self._transport = transport
        self._register.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._register.discard(self)
        self._fail(ConnectionResetError("the connection was closed before the answer was whole"))

    def data_received(self, data: bytes) -> None:
        if self._waiter is None:  # nothing was asked
            self._keeps = False
            self.end()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._keeps = False
            self._fail(Malformed(str(error)))

    def _fail(self, error: Exception) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)

    def on_message_begin(self) -> None:
        if self._waiter is None:  # another answer behind the one that was asked for
            self._keeps = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_body(self, chunk: bytes) -> None:
        self._chunks.append(chunk)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:  # the answer is still to come
            self._headers, self._chunks = [], []
            return
        waiter, self._waiter = self._waiter, None
        self._keeps = self._keeps and self._parser.should_keep_alive()
        self._since = self._loop.time()
        received = Received(status, Headers(raw=self._headers), b"".join(self._chunks))
        self._headers, self._chunks = [], []
        if waiter is not None and not waiter.done():
            waiter.set_result(received)
