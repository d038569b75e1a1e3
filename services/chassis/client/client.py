"""Calls between services, with a deadline, a token, a circuit breaker, and the problems of the upstream.

    orders = ServiceClient("http://orders:8101", "orders", signer, connections=connections)
    response = await orders.call("GET", f"/orders/{reference}", caller=caller, deadline=within(2.0))
    if response.status == 200: response.json()

The path is plain text and is percent-encoded here, so it may contain values from a client unchanged.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import orjson
import structlog

from services.chassis.client.circuit_breaker import Admission, CircuitBreaker
from services.chassis.client.connection_pool import Origin, Transport
from services.chassis.errors import FieldError, Problem, not_found, unavailable
from services.chassis.identity import Caller, Signer
from services.chassis.runtime.context import current, next_hop
from services.chassis.runtime.metrics import Histogram
from services.contracts.problems import KINDS

log = structlog.get_logger(__name__)

CALLS = Histogram("rapport_upstream_seconds", "Calls to other services.", ["upstream", "outcome"])
SERVICE_DEADLINE_SHARE = 0.9  # of the time for an answer, in which the service gives up: its refusal still arrives
MIN_COUNTED_SECONDS = 0.1  # a timeout shorter than this says nothing about the upstream


def within(seconds: float) -> float:
    """Return the deadline `seconds` from now, as a moment of `time.monotonic()`."""
    return time.monotonic() + seconds


@dataclass(frozen=True)
class ServiceResponse:
    """The response of a service, with any status below 500."""

    status: int
    headers: Mapping[str, str]
    data: bytes

    def json(self) -> Any:
        return orjson.loads(self.data)

    def problem(self) -> Problem | None:
        """Return the problem of a response with status 400 or more; None for a success."""
        if self.status < 400:
            return None
        try:
            body = self.json()
            kind = str(body["type"]).removeprefix("/problems/")
            errors = [FieldError(item["field"], item["message"]) for item in body.get("errors", ())]
            detail = str(body["detail"])
        except (ValueError, KeyError, TypeError, AttributeError):
            kind, errors, detail = "", [], ""
        if kind not in KINDS:
            return Problem("internal", f"An upstream answered {self.status}.")
        headers = {"Retry-After": self.headers["Retry-After"]} if "Retry-After" in self.headers else {}
        return Problem(kind, detail, errors=errors, headers=headers)


class ServiceClient:
    """The client of one service.

    Args:
        base_url: its address, such as `http://orders:8101`.
        audience: its name in tokens, metrics and messages.
        connections: a pool of the process, or another way, closed by its creator.
        purpose: what the calls are for, where one service has several clients: each has its own circuit breaker.
    """

    def __init__(
        self, base_url: str, audience: str, signer: Signer, *, connections: Transport, purpose: str = "calls"
    ) -> None:
        base = urlsplit(base_url)
        tls = base.scheme == "https"
        self._origin = Origin(base.hostname or "", base.port or (443 if tls else 80), tls)
        self._prefix = base.path.rstrip("/")
        self._audience = audience
        self._signer = signer
        self._connections = connections
        self.breaker = CircuitBreaker(audience, purpose)

    async def call(
        self,
        method: str,
        path: str,
        *,
        deadline: float,
        caller: Caller | None = None,
        body: object = None,
        params: Mapping[str, str | int | None] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> ServiceResponse:
        """Send one request and return the response; a GET is sent once more if its connection broke.

        Args:
            deadline: moment of `time.monotonic()` (see `within`) at which the call is cancelled.
            caller: the caller it is made for; only person and roles are passed on.
            body: encoded as JSON; bytes are sent unchanged, as JSON unless `headers` name their type.
            params: query values; None leaves a parameter out.

        Raises:
            Problem: `unavailable` when the breaker is open, the deadline passed, the service could not be reached or
                answered with a 5xx; its `Retry-After` is kept.
        """
        target = self._target(path, params)
        data = body if isinstance(body, bytes) or body is None else orjson.dumps(body)
        admission = self.breaker.admit()
        if admission is Admission.REFUSED:
            CALLS.labels(self._audience, "refused").observe(0)
            raise unavailable(f"{self._audience} is not answering.", self.breaker.retry_after)
        began, ok, outcome = time.monotonic(), None, "cancelled"
        try:
            sent = self._headers(caller, data, headers, deadline)
            response = await self._request(method, target, deadline, sent, data)
            # A 503 with Retry-After is the deliberate answer of a working service.
            ok = response.status < 500 or (response.status == 503 and "Retry-After" in response.headers)
            outcome = f"{response.status // 100}xx"
        except TimeoutError:
            ok, outcome = (False if deadline - began >= MIN_COUNTED_SECONDS else None), "timeout"
            raise unavailable(f"{self._audience} did not answer in time.") from None
        except OSError as error:
            ok, outcome = False, "unreachable"
            log.warning("upstream unreachable", upstream=self._audience, error=repr(error))
            raise unavailable(f"{self._audience} could not be reached.") from None
        finally:
            self.breaker.record(admission, ok)
            CALLS.labels(self._audience, outcome).observe(time.monotonic() - began)
        if response.status >= 500:
            raise _upstream_failure(self._audience, response)
        return response

    async def _request(
        self, method: str, target: str, deadline: float, headers: dict[str, str], data: bytes | None
    ) -> ServiceResponse:
        for attempt in (1, 2):
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            try:
                async with asyncio.timeout(left):
                    raw = await self._connections.request(self._origin, method, target, headers, data)
                return ServiceResponse(raw.status, raw.headers, raw.data)
            except ConnectionError:
                if attempt == 2 or method != "GET":
                    raise
        raise AssertionError("unreachable")

    def _target(self, path: str, params: Mapping[str, str | int | None] | None) -> str:
        if any(part in (".", "..") for part in path.split("/")):
            raise not_found()
        query = urlencode({name: value for name, value in (params or {}).items() if value is not None})
        return quote(self._prefix + path, safe="/:@") + (f"?{query}" if query else "")

    def _headers(
        self, caller: Caller | None, data: bytes | None, given: Mapping[str, str] | None, deadline: float
    ) -> dict[str, str]:
        caller = caller or Caller(self._signer.issuer)
        context = current()
        headers = dict(given or {})
        headers["Authorization"] = "Bearer " + self._signer.token(self._audience, caller.person_id, caller.roles)
        headers["traceparent"] = next_hop(context.traceparent)
        headers["X-Deadline-Seconds"] = f"{max(0.0, (deadline - time.monotonic()) * SERVICE_DEADLINE_SHARE):.3f}"
        if context.correlation_id:
            headers["X-Request-ID"] = context.correlation_id
        if data is not None:
            headers.setdefault("Content-Type", "application/json")
        return headers


def _upstream_failure(audience: str, response: ServiceResponse) -> Problem:
    retry_after = response.headers.get("Retry-After", "")
    seconds = int(retry_after) if retry_after.isdigit() and len(retry_after) < 6 else 1
    log.warning("upstream failed", upstream=audience, status=response.status)
    problem = response.problem() if response.status == 503 else None
    detail = problem.detail if problem and problem.kind == "unavailable" else f"{audience} failed to answer."
    return unavailable(detail, seconds)
