"""The service that works, and the context of a request or event, propagated through HTTP, outbox, Kafka and logs."""

import contextlib
import contextvars
import random
import re
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog

TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}\Z")


@dataclass(frozen=True)
class Context:
    """The ids of the current work.

    Attributes:
        correlation_id: the request id of the first HTTP call, the same in all services.
        causation_id: the id of the event that is handled, if any.
        traceparent: the W3C Trace Context header of this hop.
        deadline: when nobody waits for the answer any more, a moment of `time.monotonic()`; None if that is not known.
    """

    correlation_id: str | None = None
    causation_id: UUID | None = None
    traceparent: str | None = None
    deadline: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self.deadline is not None and time.monotonic() >= self.deadline


_service: ContextVar[str] = ContextVar("service", default="")


def service() -> str:
    """Return the name of the service whose work is being done; empty outside of any."""
    return _service.get()


@contextlib.contextmanager
def working_as(name: str) -> Iterator[None]:
    """Do the work of a service inside the block, in its logs and metrics too."""
    token = _service.set(name)
    try:
        yield
    finally:
        _service.reset(token)


def of_service_alone() -> contextvars.Context:
    """Return variables for a task that works for many requests: of all that is bound here, only the service."""
    alone = contextvars.Context()
    alone.run(_service.set, _service.get())
    return alone


_current: ContextVar[Context] = ContextVar("context", default=Context())  # noqa: B039  # frozen


def current() -> Context:
    """Return the context of the running task."""
    return _current.get()


@contextlib.contextmanager
def bound(context: Context) -> Iterator[None]:
    """Set the context inside the block, for its logs too."""
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)


def add_request_id(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Add the request id of the context to a log entry, as a structlog processor."""
    request_id = _current.get().correlation_id
    if request_id is not None:
        event["request_id"] = request_id
    return event


def next_hop(traceparent: str | None) -> str:
    """Return the `traceparent` of the next hop: a new span of the same trace, or a new trace without a valid header."""
    span = f"{random.getrandbits(64) or 1:016x}"  # an id, no secret; the kernel's random bytes cost ten times more
    if traceparent and TRACEPARENT.match(traceparent):
        version, trace, _, flags = traceparent.split("-")
        return f"{version}-{trace}-{span}-{flags}"
    return f"00-{random.getrandbits(128) or 1:032x}-{span}-01"
