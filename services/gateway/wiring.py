"""Make the parts of a gateway from its settings."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from cachetools import LRUCache

from services.chassis.client.client import within
from services.chassis.errors import Problem
from services.chassis.identity import Verifier
from services.contracts.people import ACCESS_TOKEN_LIFE
from services.gateway.access.authentication import NOBODY, Authentication
from services.gateway.access.client_ip import ClientAddresses
from services.gateway.access.counters import Counters
from services.gateway.access.pseudonyms import Pseudonyms
from services.gateway.access.rate_limits import RateLimits
from services.gateway.access.recent_writers import RecentWriters
from services.gateway.access.revocations import Revocations
from services.gateway.access.valkey import Valkey
from services.gateway.caching.invalidation import Invalidation
from services.gateway.caching.response_cache import ResponseCache
from services.gateway.composition.attention import AttentionCache
from services.gateway.composition.author_cache import AuthorCache
from services.gateway.composition.comment_posting import CommentPosting
from services.gateway.composition.navigation import Navigation
from services.gateway.composition.own_comments import OwnComments
from services.gateway.composition.representations import absolute
from services.gateway.composition.upstreams import Upstreams
from services.gateway.gateway import Gateway
from services.gateway.guards import UPLOAD_SECONDS
from services.gateway.settings import GatewaySettings
from services.gateway.site import Site

CHANGES_SECONDS = 3.0
SLUGS_REMEMBERED = 10_000

Json = dict[str, Any]


@asynccontextmanager
async def connect(settings: GatewaySettings, upstreams: Upstreams | None = None) -> AsyncIterator[Gateway]:
    """Yield the parts of a gateway; closed at the end of the block. Needs the running loop.

    Args:
        upstreams: other ways to the services than HTTP at the addresses in the settings.
    """
    upstreams = upstreams or Upstreams.connect(settings)
    people = upstreams.people

    async def look_up(ids: list[str], deadline: float) -> list[Json]:
        items: list[Json] = (await people.look_up("/people/lookup", NOBODY, deadline, {"ids": ids}))["items"]
        return [one | {"avatar_url": absolute(settings.public_url, one["avatar_url"])} for one in items]

    async def fetch_changes() -> Json:
        changes: Json = await people.get("/changes", NOBODY, within(CHANGES_SECONDS))
        return changes

    async def check_session(cookie: str, deadline: float) -> Json | None:
        try:
            session: Json = await people.look_up("/sessions/check", NOBODY, deadline, {"session_id": cookie})
        except Problem as problem:
            if problem.status < 500:
                return None
            raise
        return session

    pseudonyms = Pseudonyms(settings.gateway_signing_key)
    valkey = Valkey(settings.redis_url, authorities=settings.redis_ca_file)
    counters = None
    if settings.rate_limits == "on":
        counters = Counters(valkey, pseudonyms=pseudonyms)
    revocations = Revocations(fetch_changes)
    longest = int(ACCESS_TOKEN_LIFE.total_seconds())
    verifier = Verifier(settings.verification_keys, "rapport", longest=longest, accepted=["people"])
    authors, attention, cache = AuthorCache(look_up), AttentionCache(), ResponseCache()
    navigation, own_comments = Navigation(), OwnComments()
    recent_writers = RecentWriters(valkey, longest_write=max(UPLOAD_SECONDS, settings.write_deadline_seconds))
    invalidation = Invalidation(cache, authors, attention, navigation, own_comments)
    recent_writers.on_lost = invalidation.everything
    try:
        yield Gateway(
            settings=settings,
            site=Site.of(settings, settings.public_url),
            upstreams=upstreams,
            posting=CommentPosting(upstreams.comments),
            authors=authors,
            attention=attention,
            own_comments=own_comments,
            navigation=navigation,
            slugs=LRUCache(SLUGS_REMEMBERED),
            authentication=Authentication(
                verifier, revocations, check_session, cookie_name=settings.cookie_name, origin=settings.origin
            ),
            revocations=revocations,
            rate_limits=RateLimits(counters),
            recent_writers=recent_writers,
            client_addresses=ClientAddresses(settings.proxies),
            pseudonyms=pseudonyms,
            cache=cache,
            invalidation=invalidation,
        )
    finally:
        if counters is not None:
            await counters.close()
        await valkey.close()
        await upstreams.close()
