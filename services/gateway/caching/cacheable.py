"""How a handler tells the cache that its answer is alike for every stranger."""

from starlette.requests import Request

from services.gateway.composition.compose import Look

SCOPE_KEY = "rapport.offer"


class CacheOffer:
    """Left in the request's scope by the cache; taken up by whoever answers.

    Attributes:
        tags: what the answer was made of; None while nobody offered it.
        since: when its oldest part was asked for.
    """

    __slots__ = ("since", "tags")

    def __init__(self) -> None:
        self.tags: frozenset[str] | None = None
        self.since = 0.0


def offer(request: Request, look: Look) -> None:
    """Offer this answer, if it is complete, for no one in particular, and known by what it is made of."""
    found: CacheOffer | None = request.scope.get(SCOPE_KEY)
    if found is not None and look.about and not look.missing and not look.viewer.private:
        found.tags = frozenset(look.about)
        found.since = look.since
