"""The HTTP server: uvicorn in the event loop of the process, with limits for slow clients.

uvicorn limits neither the time in which a client sends headers and body, nor the size of the headers, nor the time in
which it reads the response. `LimitedHttpProtocol` does.
"""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.chassis.runtime.process import Role

log = structlog.get_logger(__name__)

KEEP_ALIVE_SECONDS = 75  # longer than our clients keep an idle connection, so that none is closed under a request
HEADER_SECONDS = 10.0
BODY_SECONDS = 30.0
WRITE_SECONDS = 30.0
HEADER_BYTES = 32 * 1024
MAX_CONNECTIONS = 4096


class LimitedHttpProtocol(HttpToolsProtocol):
    """Aborts connections of slow clients and refuses headers that are too large."""

    _deadline: asyncio.TimerHandle | None = None
    _write_deadline: asyncio.TimerHandle | None = None
    _header_bytes = 0
    _in_headers = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
            return
        self._start_deadline(HEADER_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_deadline()
        if self._write_deadline is not None:
            self._write_deadline.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_headers:
            if self._deadline is None:  # the first byte of another request on this connection
                self._start_deadline(HEADER_SECONDS)
            self._header_bytes += len(data)
        super().data_received(data)
        if self._in_headers and self._header_bytes > HEADER_BYTES and not self.transport.is_closing():
            self.send_400_response("The headers are too large.")

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._header_bytes = 0
        self._start_deadline(BODY_SECONDS)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_headers = True
        self._cancel_deadline()
        super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_deadline = self.loop.call_later(WRITE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_deadline is not None:
            self._write_deadline.cancel()
            self._write_deadline = None

    def _start_deadline(self, seconds: float) -> None:
        self._cancel_deadline()
        self._deadline = self.loop.call_later(seconds, self.transport.abort)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # `process.run` handles signals


def serve(app: Any, host: str, port: int, *, drain_seconds: float, name: str = "api", stops_last: bool = False) -> Role:
    """Return a role that serves an ASGI app until it is stopped; requests in progress are finished first.

    Raises (when run):
        OSError: the port is in use.
    """

    async def run(stop: asyncio.Event) -> None:
        listening = listen(host, port)
        config = uvicorn.Config(
            app,
            http=LimitedHttpProtocol,
            ws="none",
            loop="none",
            lifespan="auto",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=max(1, int(drain_seconds * 2 / 3)),
        )
        server = _Server(config)
        serving = asyncio.create_task(_serve(server, listening))
        stopping = asyncio.create_task(stop.wait())
        log.info("serving", role=name, host=host, port=listening.getsockname()[1])
        try:
            await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
            server.should_exit = True
            await serving
        finally:
            stopping.cancel()
            listening.close()

    return Role(name, run, stops_last=stops_last)


async def _serve(server: uvicorn.Server, listening: socket.socket) -> None:
    try:
        await server.serve(sockets=[listening])
    except SystemExit as error:
        raise RuntimeError("the application did not start") from error


def listen(host: str, port: int) -> socket.socket:
    """Return a bound socket; port 0 takes any free port.

    Raises:
        OSError: the address is in use; the message names it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise OSError(error.errno, f"cannot listen on {host} port {port}: {error.strerror}") from None
    bound.setblocking(False)
    return bound
