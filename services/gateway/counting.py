"""Count requests against rate limits, for the network that they come from or for what an answer is given to."""

from starlette.requests import Request

from services.chassis.errors import Problem
from services.chassis.http.client_networks import network_of
from services.gateway.access.counters import Policy
from services.gateway.access.rate_limits import COMPARING
from services.gateway.composition.request_context import RequestContext
from services.gateway.gateway import Gateway, gateway_of
from services.gateway.response_headers import RATE_LIMIT_HEADERS


def rate_limit_headers(request: Request) -> dict[str, str]:
    """Return the `RateLimit` headers of this request's answer, to be added to; `ResponseHeaders` sends them."""
    headers: dict[str, str] = request.scope.setdefault(RATE_LIMIT_HEADERS, {})
    return headers


async def count(request: Request, gateway: Gateway, policy: Policy, identity: str) -> None:
    """Count a request; the headers are sent for writes, and for reads only when there were too many.

    Raises:
        Problem: `too-many-requests`.
    """
    headers: dict[str, str] = {}
    try:
        await gateway.rate_limits.spend(headers, (policy, identity))
    except Problem:
        rate_limit_headers(request).update(headers)
        raise
    if policy.strict:
        rate_limit_headers(request).update(headers)


async def count_network(request: Request, gateway: Gateway, policy: Policy) -> None:
    """Count a request under the network it comes from.

    Raises:
        Problem: `too-many-requests`.
    """
    await count(request, gateway, policy, network(request, gateway))


async def count_comparison(request: Request, context: RequestContext) -> None:
    """Count a request for the difference of two texts, under the person or the network it comes from.

    Raises:
        Problem: `too-many-requests`.
    """
    gateway, person_id = gateway_of(request), context.viewer.person_id
    identity = network(request, gateway) if person_id is None else str(person_id)
    await count(request, gateway, COMPARING, identity)


def network(request: Request, gateway: Gateway) -> str:
    """Return the network that a request comes from, behind the proxies."""
    peer = request.client.host if request.client else None
    return network_of(gateway.client_addresses.client(peer, request.headers.getlist("x-forwarded-for")))
