"""Calls to the services' internal routes, repeated while a service is unavailable."""

from collections.abc import AsyncIterator
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


class Services:
    """Client of the four services' internal routes."""

    def __init__(self, clients: dict[str, ServiceClient], patience_seconds: float) -> None:
        self._clients = clients
        self._patience = patience_seconds

    async def post(self, service: str, path: str, body: dict[str, Any]) -> Any:
        """Post a body and return the answer's JSON; repeat the call while the service is unavailable.

        Use it only for idempotent routes.

        Raises:
            Problem: the service refused the request.
            Failed: the service stayed unavailable, or does not accept the operator's key.
        """
        try:
            async for attempt in stamina.retry_context(
                on=_is_passing, attempts=None, timeout=self._patience, wait_initial=0.1, wait_max=3.0, wait_jitter=0.3
            ):
                with attempt:
                    answer = await self._clients[service].call("POST", path, body=body, deadline=within(CALL_SECONDS))
        except Problem as problem:
            raise Failed(f"{service} was unavailable for {self._patience:g} s: {problem.detail}") from problem
        return _accepted(service, answer)


def _is_passing(error: Exception) -> bool:
    return isinstance(error, Problem) and error.kind == "unavailable"


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
