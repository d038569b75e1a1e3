"""Let a handler tell the cache for whom its answer is: every anonymous reader, every moderator, or one person."""

from uuid import UUID

from starlette.requests import Request

from services.contracts.people import is_moderator
from services.gateway.composition.request_context import RequestContext

SCOPE_KEY = "rapport.cache-offer"


class CacheOffer:
    """Put into the request's scope by the cache, filled in by the handler that answers.

    Args:
        for_moderators: the answer is wanted that every moderator gets.
        person_id: the answer is wanted that this person gets, who moderates nothing.

    Attributes:
        tags: what the answer was made of; None while no handler offered it.
        since: when its oldest part was asked for.
        own_below: see `RequestContext`.
    """

    __slots__ = ("for_moderators", "own_below", "person_id", "since", "tags")

    def __init__(self, *, for_moderators: bool = False, person_id: UUID | None = None) -> None:
        self.for_moderators = for_moderators
        self.person_id = person_id
        self.tags: frozenset[str] | None = None
        self.since = 0.0
        self.own_below: frozenset[str] | None = None

    def wants(self, context: RequestContext) -> bool:
        """Return whether this request's answer is the one that is wanted."""
        viewer = context.viewer
        if self.for_moderators:
            return context.own_below is not None and is_moderator(viewer.caller.roles)
        if self.person_id is not None:
            is_theirs = viewer.person_id == self.person_id and not is_moderator(viewer.caller.roles)
            return context.own_below is not None and is_theirs
        return not viewer.private


def offer_to_cache(request: Request, context: RequestContext) -> None:
    """Offer this answer to the cache if it is complete, for those it is kept for, and known by what it is made of."""
    offer: CacheOffer | None = request.scope.get(SCOPE_KEY)
    if offer is not None and context.tags and not context.missing and offer.wants(context):
        offer.tags = frozenset(context.tags)
        offer.since = context.since
        offer.own_below = None if context.own_below is None else frozenset(context.own_below)
