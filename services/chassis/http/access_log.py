"""Write a line in the log for each request, without what a client's path, query or address may tell.

The path is that of the route, such as `/sign-in/{token}`; only what everybody may be answered from a cache is named as
it was asked for. Lines are like those of `telemetry`, but put together as bytes and written a tenth of a second later,
many at once: a cached answer costs less than a line that goes through structlog. A process that is killed loses those.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Mapping
from functools import lru_cache

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.chassis.http.ready_answers import FindReady, Headers, ReadyAnswer

WAIT_SECONDS = 0.1
KEPT_PATHS = 1_000  # whose part of a line is remembered
PATH = "rapport.access_path"  # in the scope, while lines are written: what the app knows of the path
FIXED: Mapping[str, object] = {"message": "request", "level": "info", "logger": __name__}


def write_to_stdout(lines: bytes) -> None:
    sys.stdout.buffer.write(lines)
    sys.stdout.buffer.flush()


class AccessLog:
    """The lines of one server. Whoever closes it last writes what is left.

    Args:
        service: whose server it is.
    """

    def __init__(self, service: str, write: Callable[[bytes], object] = write_to_stdout) -> None:
        self._start = orjson.dumps({**FIXED, "service": service})[:-1] + b',"time":"'
        self._write = write
        self._lines: list[bytes] = []
        self._second = 0
        self._until_second = b""

    def add(self, method: str, path: str, status: int, seconds: float, request_id: str | None = None) -> None:
        end = {"method": method, "path": path, "status": status, "seconds": round(seconds, 6)}
        if request_id:
            end["request_id"] = request_id
        self._add(b'Z",' + orjson.dumps(end)[1:])

    def _add(self, end: bytes) -> None:
        """Add a line that ends so behind the time."""
        if not self._lines:
            asyncio.get_running_loop().call_later(WAIT_SECONDS, self.flush)
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._until_second = self._start + time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()
        self._lines.append(b"%b.%06d%b" % (self._until_second, (now - second) * 1_000_000, end))

    def flush(self) -> None:
        """Write the lines that wait."""
        if self._lines:
            lines, self._lines = self._lines, []
            self._write(b"\n".join(lines) + b"\n")

    def around_app(self, app: ASGIApp) -> ASGIApp:
        """Return the app, with a line for each request that it answers, or leaves with status 0."""

        async def logged(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            began, status, request_id = time.perf_counter(), 0, None
            known = scope[PATH] = [""]

            async def send_noted(message: Message) -> None:
                nonlocal status, request_id
                if message["type"] == "http.response.start":
                    status = message["status"]
                    request_id = dict(message.get("headers", ())).get(b"x-request-id", b"").decode()
                await send(message)

            try:
                await app(scope, receive, send_noted)
            finally:
                self.add(scope["method"], known[0], status, time.perf_counter() - began, request_id)

        return logged

    def around_ready(self, find: FindReady) -> FindReady:
        """Return the function, with a line for each answer that it finds."""

        def logged(target: bytes, headers: Headers) -> ReadyAnswer | None:
            answer = find(target, headers)
            if answer is not None:
                self._add(_end_of_ready(target, answer.head[9:12]))
            return answer

        return logged


@lru_cache(KEPT_PATHS)
def _end_of_ready(target: bytes, status: bytes) -> bytes:
    """Return how the lines of what is ready end."""
    path = target.partition(b"?")[0].decode("latin-1")
    return b'Z",' + orjson.dumps({"method": "GET", "path": path, "status": int(status), "seconds": 0.0})[1:]


def note_path(scope: Scope, path: str) -> None:
    """Tell the access log, if there is one, which path its line may show."""
    if (known := scope.get(PATH)) is not None:
        known[0] = path
