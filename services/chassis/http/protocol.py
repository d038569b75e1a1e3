"""One connection of the HTTP server: uvicorn's protocol with limits in time and size, and with problem details.

uvicorn limits neither the time in which a client sends headers and body, nor the size of headers and trailers, nor the
time in which it reads the response; and it answers what is not HTTP with a line of text, in the midst of the response
to an earlier request if there is one. What is ready as bytes is sent before a cycle of uvicorn's is made for it.
"""

import asyncio
import enum
from collections.abc import Callable, Mapping
from typing import Any

import httptools
import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.chassis.errors import Problem
from services.chassis.http.problems import last_response
from services.chassis.http.ready_answers import FindReady
from services.chassis.http.request_head import (
    FIELD_BYTES,
    HEADER_BYTES,
    MAX_FIELDS,
    check_head,
    headers_too_large,
    malformed,
)
from services.chassis.runtime.telemetry import HTTP_REQUESTS

log = structlog.get_logger(__name__)

HEADER_SECONDS = 15.0
BODY_SECONDS = 15.0  # without progress
WHOLE_BODY_SECONDS = 600.0  # with progress, so that one byte now and then does not hold a connection for ever
WRITE_SECONDS = 30.0
LINGER_SECONDS = 5.0
LINGER_BYTES = 8 * 2**20
MAX_PIPELINED = 16  # one read holds thousands of requests, and each waits with more memory than it came in
NOT_PLAIN = {b"content-length", b"transfer-encoding", b"upgrade"}  # fields behind which a GET is not over


class Phase(enum.Enum):
    """The part of a request that is awaited."""

    NOTHING = enum.auto()  # no byte of the next request has come
    HEADERS = enum.auto()
    BODY = enum.auto()


NOTHING, HEADERS, BODY = Phase  # looking a member up by its class costs more than all else that a header costs


def _nothing() -> None:
    """Replace what a cycle calls when its response has ended, once its connection has."""


class CycleTransport:
    """What the request cycles of uvicorn see of a transport; closing it is the protocol's decision."""

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.write = transport.write
        self.is_closing = transport.is_closing
        self.close = close


class LimitedHttpProtocol(HttpToolsProtocol):
    """Refuses what is malformed, too large or too slow, and aborts connections whose clients do not read.

    Args:
        find_ready: finds answers that are sent at once.
    """

    _phase = NOTHING
    _deadline: asyncio.TimerHandle | None = None
    _write_deadline: asyncio.TimerHandle | None = None
    _has_ended = False  # whether a request ended in the bytes that are being parsed
    _undelivered = 0  # bytes since the parser last handed over headers or a piece of a body
    _received = 0  # the same when the last read began to be parsed; no head in it is larger
    _trailers = _trailer_bytes = 0
    _body_began = 0.0
    _progress = 0.0  # when the last piece of the body came
    _refusal: Problem | None = None  # once set, nothing is parsed any more
    _lingering = False
    _discarded = 0
    _sent_at_once = False  # whether the request whose end is awaited has its answer already, without a cycle

    def __init__(self, *arguments: Any, find_ready: FindReady | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._find_ready = find_ready

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self._cycle_transport = CycleTransport(transport, self._close_after_response)
        self._start_deadline(HEADER_SECONDS, self._headers_are_late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_deadline()
        if self._write_deadline is not None:
            self._write_deadline.cancel()
        self._unset_keepalive_if_required()  # uvicorn leaves it, and all that belongs to it, behind a reset
        super().connection_lost(exc)
        # Nothing refers in a circle to what is left, so that memory comes back at once and not with a collection.
        self._cycle_transport.close = self.transport.close
        for cycle in (self.cycle, *(cycle for cycle, _ in self.pipeline)):
            if cycle is not None:
                cycle.on_response = _nothing
        self.pipeline.clear()

    def data_received(self, data: bytes) -> None:
        """Parse what came. This replaces uvicorn's method, which answers with text and logs advice on WebSocket."""
        self._unset_keepalive_if_required()
        if self._refusal is not None or self._lingering:
            self._discard(len(data))
            return
        self._received = self._undelivered = self._undelivered + len(data)
        self._has_ended = False
        rest: bytes | memoryview = data
        try:
            while rest:
                try:
                    self.parser.feed_data(rest)
                    break
                except httptools.HttpParserUpgrade as upgrade:  # none is served (RFC 9110, 7.8: may be ignored)
                    rest = memoryview(rest)[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            known = error.__context__
            if known is not None and not isinstance(known, (Problem, httptools.HttpParserError)):
                log.error("request not parsed", exc_info=known)
            self._refuse(known if isinstance(known, Problem) else malformed(f"This is not HTTP/1.1: {error}."))
        else:
            if self._undelivered > HEADER_BYTES:
                self._refuse(headers_too_large())
            elif self._deadline is None and (self._phase is not NOTHING or not self._has_ended):
                self._await_the_rest()
            elif self.cycle is None and self.timeout_keep_alive_task is None:
                self._await_the_next()

    def _await_the_rest(self) -> None:
        """Start the deadline of what is awaited; a request that comes as a whole needs none, which is most of them."""
        if self._phase is BODY:
            self._start_deadline(BODY_SECONDS, self._check_progress)
        else:  # headers, or empty lines without end
            self._start_deadline(HEADER_SECONDS, self._headers_are_late)

    def _await_the_next(self) -> None:
        """Start the time in which an idle connection is kept, as uvicorn does when a cycle has ended."""
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def on_message_begin(self) -> None:
        self._phase = HEADERS
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._phase is HEADERS:
            if len(self.headers) >= MAX_FIELDS:  # thousands more may have come in the same read
                raise headers_too_large()
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":  # as uvicorn does
                self.expect_100_continue = True
            self.headers.append((name, value))
            return
        # A trailer. Nothing here needs any; uvicorn would add it to the headers of the request that is being handled.
        self._trailers += 1
        self._trailer_bytes += len(name) + len(value) + FIELD_BYTES
        if self._trailers > MAX_FIELDS or self._trailer_bytes > HEADER_BYTES:
            raise headers_too_large()

    def on_headers_complete(self) -> None:
        fields = check_head(self.parser.get_http_version(), self.url, self.headers, self._received)
        if len(self.pipeline) >= MAX_PIPELINED:
            raise malformed(f"At most {MAX_PIPELINED} requests may wait on a connection.")
        self._sent_at_once = self._send_what_is_ready(fields)
        if not self._sent_at_once:
            try:
                super().on_headers_complete()
            except httptools.HttpParserInvalidURLError:
                raise malformed("The URL is not valid.") from None
            self.cycle.transport = self._cycle_transport  # type: ignore[assignment]  # all that a cycle uses
        self._phase = BODY
        self._undelivered = self._trailers = self._trailer_bytes = 0
        self._body_began = self._progress = self.loop.time()
        self._cancel_deadline()

    def _send_what_is_ready(self, fields: Mapping[bytes, bytes]) -> bool:
        """Send the answer to a GET at once; return False where the app must answer.

        That is so where none is ready, where an earlier answer is not complete, where the client does not read what was
        sent to it, and where more of the request follows, or the connection ends behind it.
        """
        if (
            self._find_ready is None
            or (self.cycle is not None and not self.cycle.response_complete)
            or self.flow.write_paused
            or self.parser.get_method() != b"GET"
            or self.parser.get_http_version() != "1.1"
            or not self.parser.should_keep_alive()
            or not NOT_PLAIN.isdisjoint(fields)
        ):
            return False
        answer = self._find_ready(self.url, self.headers)
        if answer is None:
            return False
        always = b"".join([b"%s: %s\r\n" % field for field in self.server_state.default_headers])
        self.transport.write(answer.head + always + b"\r\n")
        if answer.body:
            self.transport.write(answer.body)
        self.server_state.total_requests += 1
        self.cycle = None  # type: ignore[assignment]  # as before the first
        return True

    def on_body(self, body: bytes) -> None:
        self._undelivered = 0
        if not self.cycle.response_complete:  # the rest of a body that nobody reads gets no more time
            self._progress = self.loop.time()
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._phase = NOTHING
        self._undelivered = 0
        self._has_ended = True
        self._cancel_deadline()
        if self._sent_at_once:
            self.scope = self.headers = None  # type: ignore[assignment]  # the largest part of what it holds
        else:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        if self._refusal is not None and not self.pipeline and not self.transport.is_closing():
            self._answer(self._refusal)
        elif not self._lingering:
            super().on_response_complete()
            if self._phase is NOTHING and self.cycle.response_complete:  # idle; the largest part of what it holds
                self.cycle = self.scope = self.headers = None  # type: ignore[assignment]  # as before the first

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_deadline = self.loop.call_later(WRITE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_deadline is not None:
            self._write_deadline.cancel()
            self._write_deadline = None

    def _headers_are_late(self) -> None:
        self._deadline = None
        if self._phase is HEADERS:
            self._refuse(Problem("request-timeout", f"Send the headers within {HEADER_SECONDS:g} seconds."))
        elif self.cycle is None or self.cycle.response_complete:
            self.transport.abort()  # there is no request to answer

    def _check_progress(self) -> None:
        now = self.loop.time()
        if self._app_is_late():
            self._progress = now
        left = min(self._progress + BODY_SECONDS, self._body_began + WHOLE_BODY_SECONDS) - now
        if left > 0:
            self._start_deadline(left, self._check_progress)
        elif now < self._body_began + WHOLE_BODY_SECONDS:
            self._refuse(Problem("request-timeout", f"The body paused for {BODY_SECONDS:g} seconds."))
        else:
            self._refuse(Problem("request-timeout", f"Send the body within {WHOLE_BODY_SECONDS:g} seconds."))

    def _app_is_late(self) -> bool:
        """Return whether the client cannot send more of the body before the app reads what came."""
        return not self.cycle.response_complete and (self.flow.read_paused or self.cycle.waiting_for_100_continue)

    def _refuse(self, problem: Problem) -> None:
        """Answer with a problem once all requests before this one are answered, and close the connection."""
        if self._refusal is not None or self.transport.is_closing():
            return
        self._cancel_deadline()
        self._refusal = problem
        if self._phase is not BODY:
            if self.cycle is None or self.cycle.response_complete:
                self._answer(problem)
        elif self.cycle.response_complete:
            self._linger()
        elif self.cycle.response_started:
            self.transport.abort()  # the only way left to say that the response is not whole
        else:
            waiting = bool(self.pipeline) and self.pipeline[0][0] is self.cycle
            if waiting:
                self.pipeline.popleft()
            self.cycle.disconnected = True  # for the app the client is gone
            self.cycle.waiting_for_100_continue = False
            self.cycle.message_event.set()
            if not waiting:
                self._answer(problem)

    def _answer(self, problem: Problem) -> None:
        is_head = self._phase is not NOTHING and self.parser.get_method() == b"HEAD"
        self.transport.write(last_response(problem, self.server_state.default_headers, with_body=not is_head))
        HTTP_REQUESTS.labels("other", "unmatched", problem.status).inc()
        self._linger()

    def _close_after_response(self) -> None:
        if self._phase is BODY and self.cycle.response_complete:  # the rest of the body is on its way
            self._linger()
        else:
            self._close()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection. This replaces uvicorn's method, after which a client may read for ever."""
        if not self.transport.is_closing():
            self._close()

    def _close(self) -> None:
        self.transport.close()  # when the client has read what was sent
        self._start_deadline(WRITE_SECONDS, self.transport.abort)

    def _linger(self) -> None:
        """Close after the client has closed: the kernel resets a connection with unread bytes, and the client would
        lose the answer.
        """
        self._lingering = True
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._start_deadline(LINGER_SECONDS, self.transport.abort)

    def _discard(self, size: int) -> None:
        if self._lingering:
            self._discarded += size
            if self._discarded > LINGER_BYTES:
                self.transport.abort()

    def _start_deadline(self, seconds: float, late: Callable[[], None]) -> None:
        self._cancel_deadline()
        self._deadline = self.loop.call_later(seconds, late)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
