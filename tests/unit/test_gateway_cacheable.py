"""Whose answer may be kept for whom."""

from uuid import UUID

import pytest

from services.chassis.identity import Caller
from services.gateway.access.authentication import ANONYMOUS, REFUSED, Viewer
from services.gateway.caching.cacheable import CacheOffer
from services.gateway.composition.author_cache import AuthorCache
from services.gateway.composition.request_context import RequestContext
from tests.unit.gateway_fakes import FakeServices

ANNA, BEN = UUID(int=1), UUID(int=2)


def signed_in(person_id: UUID, *roles: str) -> Viewer:
    return Viewer(Caller("gateway", person_id, frozenset(roles)), private=True)


VIEWERS = {
    "a stranger": ANONYMOUS,
    "somebody refused": REFUSED,
    "Anna": signed_in(ANNA, "reader"),
    "Ben": signed_in(BEN, "author"),
    "a moderator": signed_in(BEN, "moderator"),
    "an admin": signed_in(BEN, "admin"),
    "Anna as a moderator": signed_in(ANNA, "moderator"),
}


@pytest.mark.parametrize(
    ("offer", "whose"),
    [
        (CacheOffer(), {"a stranger"}),
        (CacheOffer(for_moderators=True), {"a moderator", "an admin", "Anna as a moderator"}),
        (CacheOffer(person_id=ANNA), {"Anna"}),
    ],
)
def test_an_answer_is_kept_only_for_those_who_get_the_same(offer: CacheOffer, whose: set[str]) -> None:
    """An answer that differs in more than what is somebody's own is nobody's but the stranger's."""

    def context(viewer: Viewer) -> RequestContext:
        return RequestContext(FakeServices().upstreams, AuthorCache(lookup), {}, "http://x", 1, viewer, 1)

    contexts = {name: context(viewer) for name, viewer in VIEWERS.items()}
    assert {name for name, each in contexts.items() if offer.wants(each)} == whose & {"a stranger"}
    for each in contexts.values():
        each.own_below = {"a post"}
    assert {name for name, each in contexts.items() if offer.wants(each)} == whose


async def lookup(_: list[str], __: float) -> list[dict[str, str]]:
    return []
