"""Calls to services in the same process: the callee's ASGI application runs, and no socket is between.

The callee sees what its own server would show it: the request with its token and its deadline, in a context of its own.
A caller that gives up is a client that has gone: the callee goes on, as it would behind a socket, and nobody gets what
it answers.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from contextvars import Context
from dataclasses import dataclass
from urllib.parse import unquote

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message

from services.chassis.client.connection_pool import MAX_CONNECTIONS, Origin, RawResponse, encode_request

log = structlog.get_logger(__name__)

CLOSE_SECONDS = 5.0  # for what callees still do when their caller ends


@dataclass(frozen=True)
class LocalService:
    """A service in this process.

    Attributes:
        context: that of the service; each call gets a copy, so that it knows nothing of its caller.
    """

    app: ASGIApp
    context: Context


class LocalCalls:
    """The way to services in this process, each at `http://<its name>`. Its creator closes it.

    Args:
        services: by name; one may be added later.
    """

    def __init__(self, services: Mapping[str, LocalService]) -> None:
        self._services = services
        self._slots: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(MAX_CONNECTIONS))
        self._under_way: set[asyncio.Task[None]] = set()
        self._closed = False

    async def close(self) -> None:
        """Take no more calls, and wait for what callees still do; after `CLOSE_SECONDS` it is cancelled."""
        self._closed = True
        if self._under_way:
            _, left = await asyncio.wait(self._under_way, timeout=CLOSE_SECONDS)
            for task in left:
                task.cancel()

    async def request(
        self, origin: Origin, method: str, target: str, headers: Mapping[str, str], data: bytes | None
    ) -> RawResponse:
        """Let the service answer one request. Cancelling disconnects from it.

        Raises:
            ConnectionError: there is no such service, or it ended before its response was complete.
            ValueError: see `encode_request`.
        """
        service = self._services.get(origin.host)
        if service is None or self._closed:
            raise ConnectionRefusedError(f"{origin.host} does not run in this process")
        exchange = _Exchange(origin, method, target, headers, data)
        async with self._slots[origin.host]:
            task = asyncio.create_task(exchange.run(service.app), context=service.context.copy())
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
            try:
                return await exchange.response
            finally:
                exchange.disconnected.set()


class _Exchange:
    """One request to an application, and its response."""

    def __init__(
        self, origin: Origin, method: str, target: str, headers: Mapping[str, str], data: bytes | None
    ) -> None:
        head = encode_request(origin, method, target, headers, data).partition(b"\r\n\r\n")[0]
        path, _, query = target.partition("?")
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "scheme": "http",
            "server": (origin.host, origin.port),
            "client": None,
            "method": method,
            "root_path": "",
            "path": unquote(path) if "%" in path else path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [_field(line) for line in head.split(b"\r\n")[1:]],
            "state": {},
        }
        self._body: bytes | None = data or b""
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._chunks: list[bytes] = []
        self.response: asyncio.Future[RawResponse] = asyncio.get_running_loop().create_future()
        self.disconnected = asyncio.Event()

    async def run(self, app: ASGIApp) -> None:
        """Run the application to its end, which may come after that of its response."""
        try:
            await app(self._scope, self._receive, self._send)
        except Exception:
            log.exception("the application of a local call failed")
            if not self._status:
                self._respond(RawResponse(500, Headers(raw=[]), b""))
        finally:
            if not self.response.done():
                self.response.set_exception(ConnectionResetError("the service ended before its response was complete"))

    async def _receive(self) -> Message:
        body, self._body = self._body, None
        if body is None:
            await self.disconnected.wait()
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": body, "more_body": False}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = [(name.lower(), value) for name, value in message.get("headers", ())]
            return
        self._chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            self._respond(RawResponse(self._status, Headers(raw=self._headers), b"".join(self._chunks)))

    def _respond(self, response: RawResponse) -> None:
        if not self.response.done():  # else its caller has gone
            self.response.set_result(response)


def _field(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b": ")
    return name.lower(), value.strip()
