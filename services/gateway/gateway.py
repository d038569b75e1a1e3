"""Hold the parts of one gateway process, made once in the composition root and found through the request's app."""

import asyncio
from collections.abc import MutableMapping
from dataclasses import dataclass, field

from starlette.requests import Request

from services.gateway.access.authentication import Authentication, Viewer
from services.gateway.access.client_ip import ClientAddresses
from services.gateway.access.pseudonyms import Pseudonyms
from services.gateway.access.rate_limits import RateLimits
from services.gateway.access.recent_writers import RecentWriters
from services.gateway.access.revocations import Revocations
from services.gateway.caching.invalidation import Invalidation
from services.gateway.caching.response_cache import ResponseCache
from services.gateway.composition import export
from services.gateway.composition.attention import AttentionCache
from services.gateway.composition.author_cache import AuthorCache
from services.gateway.composition.comment_posting import CommentPosting
from services.gateway.composition.navigation import Navigation
from services.gateway.composition.own_comments import OwnComments
from services.gateway.composition.request_context import RequestContext
from services.gateway.composition.upstreams import Upstreams
from services.gateway.settings import GatewaySettings
from services.gateway.site import Site


@dataclass(frozen=True)
class Gateway:
    """The parts of one gateway process.

    Attributes:
        slugs: ids of posts by slug; see `RequestContext`.
        exports: the turns of those who want all that is kept of them.
    """

    settings: GatewaySettings
    site: Site
    upstreams: Upstreams
    posting: CommentPosting
    authors: AuthorCache
    attention: AttentionCache
    own_comments: OwnComments
    navigation: Navigation
    slugs: MutableMapping[str, str]
    authentication: Authentication
    revocations: Revocations
    rate_limits: RateLimits
    recent_writers: RecentWriters
    client_addresses: ClientAddresses
    pseudonyms: Pseudonyms
    cache: ResponseCache
    invalidation: Invalidation
    exports: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(export.AT_ONCE))

    def context(self, viewer: Viewer, deadline: float) -> RequestContext:
        """Return the context of a request that this viewer sends."""
        settings = self.settings
        return RequestContext(
            self.upstreams,
            self.authors,
            self.slugs,
            settings.public_url,
            settings.page_patience_seconds,
            viewer,
            deadline,
            attention=self.attention,
        )


def gateway_of(request: Request) -> Gateway:
    """Return the gateway that serves this request."""
    gateway: Gateway = request.app.state.gateway
    return gateway
