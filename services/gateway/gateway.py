"""The parts of one gateway process, made once in the composition root and found again through the request's app."""

from dataclasses import dataclass

from starlette.requests import Request

from services.gateway.access.authentication import Authentication
from services.gateway.access.client_ip import ClientAddresses
from services.gateway.access.rate_limits import RateLimits
from services.gateway.access.revocations import Revocations
from services.gateway.caching.invalidation import Invalidation
from services.gateway.caching.response_cache import ResponseCache
from services.gateway.composition.compose import Sources
from services.gateway.settings import GatewaySettings


@dataclass(frozen=True)
class Gateway:
    """What the routes need."""

    settings: GatewaySettings
    sources: Sources
    viewers: Authentication
    changes: Revocations
    limits: RateLimits
    proxies: ClientAddresses
    cache: ResponseCache
    changed: Invalidation


def gateway_of(request: Request) -> Gateway:
    """The gateway that serves this request."""
    gateway: Gateway = request.app.state.gateway
    return gateway
