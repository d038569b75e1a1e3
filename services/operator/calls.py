"""Calls to the services' internal routes, repeated while a service is unavailable."""

import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import stamina

from services.chassis.client.client import ServiceClient, ServiceResponse, within
from services.chassis.client.connection_pool import ConnectionPool
from services.chassis.errors import Problem
from services.chassis.identity import Signer
from services.operator.failures import Failed
from services.operator.settings import OperatorSettings

SERVICES = ("posts", "comments", "people", "notify")
CALL_SECONDS = 30.0
QUIET_SECONDS = 1.0  # a comment that is imported right after its post waits so long for the event of it


def _say(sentence: str) -> None:
    """Tell the operator that a command waits, and for how long at most."""
    sys.stderr.write(f"rapport: {sentence}\n")
    sys.stderr.flush()


class Services:
    """Client of the four services' internal routes."""

    def __init__(
        self, clients: dict[str, ServiceClient], patience_seconds: float, say: Callable[[str], object] = _say
    ) -> None:
        self._clients = clients
        self._patience = patience_seconds
        self._say = say

    async def get(self, service: str, path: str) -> Any:
        """Return the JSON at a path; repeat the call while the service is unavailable.

        Raises:
            Problem: the service refused the request.
            Failed: the service stayed unavailable, or does not accept the operator's key.
        """
        return await self._call("GET", service, path, None)

    async def post(self, service: str, path: str, body: dict[str, Any]) -> Any:
        """Post a body and return the answer's JSON; repeat the call while the service is unavailable.

        It is repeated, too, while comments has not heard of a post. Use it only for idempotent routes.

        Raises:
            Problem: the service refused the request.
            Failed: the service stayed unavailable, never heard of the post, or does not accept the operator's key.
        """
        return await self._call("POST", service, path, body)

    async def _call(self, method: str, service: str, path: str, body: dict[str, Any] | None) -> Any:
        begun, said = time.monotonic(), False
        try:
            async for attempt in stamina.retry_context(
                on=_is_passing, attempts=None, timeout=self._patience, wait_initial=0.1, wait_max=3.0, wait_jitter=0.3
            ):
                with attempt:
                    try:
                        deadline = within(CALL_SECONDS)
                        answer = await self._clients[service].call(method, path, body=body, deadline=deadline)
                        if (refusal := answer.problem()) is not None and _is_passing(refusal):
                            raise refusal
                    except Problem as problem:
                        if not said and _is_passing(problem) and time.monotonic() - begun > QUIET_SECONDS:
                            said = True
                            self._say(f"{problem.detail.rstrip('.')}; trying again for {self._patience:g} s.")
                        raise
        except Problem as problem:
            if problem.kind == "post-unknown":
                raise Failed(
                    f"{service} did not hear of a post within {self._patience:g} s: see that its consumer runs "
                    f"(`rapport consumer status {service}`), and the relay of posts, then repeat the command."
                ) from problem
            raise Failed(f"{service} was unavailable for {self._patience:g} s: {problem.detail}") from problem
        return _accepted(service, answer)


def _is_passing(error: Exception) -> bool:
    return isinstance(error, Problem) and error.kind in ("unavailable", "post-unknown")


def _accepted(service: str, answer: ServiceResponse) -> Any:
    problem = answer.problem()
    if problem is None:
        return answer.json()
    if problem.kind in ("invalid-token", "forbidden"):
        raise Failed(f"{service} does not accept OPERATOR_SIGNING_KEY ({problem.detail.rstrip('.')}).")
    raise problem


@asynccontextmanager
async def connected(settings: OperatorSettings) -> AsyncIterator[Services]:
    """Open a client of the services at the addresses of the settings.

    Raises:
        Failed: the signing key is invalid.
    """
    try:
        signer = Signer(settings.operator_signing_key, "operator")
    except (ValueError, TypeError) as error:
        raise Failed(f"OPERATOR_SIGNING_KEY is invalid: {error}.") from error
    stamina.instrumentation.set_on_retry_hooks([])
    async with ConnectionPool() as connections:
        urls = {service: getattr(settings, f"{service}_url") for service in SERVICES}
        clients = {name: ServiceClient(url, name, signer, connections=connections) for name, url in urls.items()}
        yield Services(clients, settings.patience_seconds)
