"""The parts of one gateway process, made once in the composition root and found again through the request's app."""

from dataclasses import dataclass

from starlette.requests import Request

from services.gateway.cache import Cache
from services.gateway.changes import Changes
from services.gateway.compose import Sources
from services.gateway.evictions import Changed
from services.gateway.limits import Limits
from services.gateway.proxies import Proxies
from services.gateway.settings import GatewaySettings
from services.gateway.viewer import Viewers


@dataclass(frozen=True)
class Gateway:
    """What the routes need."""

    settings: GatewaySettings
    sources: Sources
    viewers: Viewers
    changes: Changes
    limits: Limits
    proxies: Proxies
    cache: Cache
    changed: Changed


def gateway_of(request: Request) -> Gateway:
    """The gateway that serves this request."""
    gateway: Gateway = request.app.state.gateway
    return gateway
