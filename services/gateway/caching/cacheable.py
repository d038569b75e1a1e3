"""Let a handler tell the cache that its answer is the same for every anonymous reader."""

from starlette.requests import Request

from services.gateway.composition.request_context import RequestContext

SCOPE_KEY = "rapport.cache-offer"


class CacheOffer:
    """Put into the request's scope by the cache, filled in by the handler that answers.

    Attributes:
        tags: what the answer was made of; None while no handler offered it.
        since: when its oldest part was asked for.
    """

    __slots__ = ("since", "tags")

    def __init__(self) -> None:
        self.tags: frozenset[str] | None = None
        self.since = 0.0


def offer_to_cache(request: Request, context: RequestContext) -> None:
    """Offer this answer to the cache if it is complete, for no one in particular, and known by what it is made of."""
    offer: CacheOffer | None = request.scope.get(SCOPE_KEY)
    if offer is not None and context.tags and not context.missing and not context.viewer.private:
        offer.tags = frozenset(context.tags)
        offer.since = context.since
