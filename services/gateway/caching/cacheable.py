"""Let a handler tell the cache that its answer is the same for every anonymous reader, or for every moderator."""

from starlette.requests import Request

from services.contracts.people import is_moderator
from services.gateway.composition.request_context import RequestContext

SCOPE_KEY = "rapport.cache-offer"


class CacheOffer:
    """Put into the request's scope by the cache, filled in by the handler that answers.

    Args:
        for_moderators: the answer is wanted that every moderator gets.

    Attributes:
        tags: what the answer was made of; None while no handler offered it.
        since: when its oldest part was asked for.
        own_below: see `RequestContext`.
    """

    __slots__ = ("for_moderators", "own_below", "since", "tags")

    def __init__(self, *, for_moderators: bool = False) -> None:
        self.for_moderators = for_moderators
        self.tags: frozenset[str] | None = None
        self.since = 0.0
        self.own_below: frozenset[str] | None = None

    def wants(self, context: RequestContext) -> bool:
        """Return whether this request's answer is the one that is wanted."""
        if self.for_moderators:
            return context.own_below is not None and is_moderator(context.viewer.caller.roles)
        return not context.viewer.private


def offer_to_cache(request: Request, context: RequestContext) -> None:
    """Offer this answer to the cache if it is complete, for no one in particular, and known by what it is made of."""
    offer: CacheOffer | None = request.scope.get(SCOPE_KEY)
    if offer is not None and context.tags and not context.missing and offer.wants(context):
        offer.tags = frozenset(context.tags)
        offer.since = context.since
        offer.own_below = None if context.own_below is None else frozenset(context.own_below)
