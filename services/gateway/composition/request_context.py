"""Hold what one request needs while its answer is composed: the services, the viewer, and one deadline for all calls.

A required part that fails fails the answer. An optional one is left out and named in `missing`; none may use up the
time of those that are asked for after it.
"""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import structlog

from services.chassis.errors import Problem, unavailable
from services.gateway.access.authentication import NOBODY, Viewer
from services.gateway.composition.attention import AttentionCache
from services.gateway.composition.author_cache import AuthorCache
from services.gateway.composition.upstreams import Upstreams

log = structlog.get_logger(__name__)

Json = dict[str, Any]
T = TypeVar("T")

OPTIONAL_PARTS_SHARE = 0.75  # of the time that is left, for a part after which others are asked for
LEAST_SECONDS = 0.25  # for a part that is asked for last


@dataclass(frozen=True)
class Composed:
    """A public representation and its epoch and version (0 for what has none).

    Attributes:
        content: its JSON, where that is made without its data: then only `next` is in these.
    """

    data: Json
    version: int = 0
    epoch: int = 0
    content: bytes | None = None


@dataclass(slots=True)
class RequestContext:
    """One request while its answer is composed.

    Attributes:
        public_url: the base of links to our own pages.
        page_patience: seconds a page waits for comments to hear of a post that was just published.
        slugs: ids of posts by slug, remembered so that a page's parts can be asked for at once; only a hint.
        deadline: when it must be answered, a moment of `time.monotonic()`.
        missing: optional parts that could not be had, in the words of the API.
        tags: everything that the answer is made of; see `caching.response_cache`.
        since: when the oldest part of it was asked for.
        may_count: whether comments may be asked for numbers; not if it has just failed to answer this request.
        attention: what waits for the viewer.
        own_below: the posts whose comments are all that differs between viewers: by what is their own there, and by
            whether they moderate. None if more may differ.
    """

    upstreams: Upstreams
    authors: AuthorCache
    slugs: MutableMapping[str, str]
    public_url: str
    page_patience: float
    viewer: Viewer
    deadline: float
    missing: list[str] = field(default_factory=list)
    tags: set[str] = field(default_factory=set)
    since: float = field(default_factory=time.monotonic)
    may_count: bool = True
    attention: AttentionCache = field(default_factory=AttentionCache)
    own_below: set[str] | None = None

    def __post_init__(self) -> None:
        if not self.viewer.sure:
            self.miss("viewer")

    def miss(self, part: str) -> None:
        """Name a part that could not be had."""
        if part not in self.missing:
            self.missing.append(part)

    async def optional(self, part: str, ask: Callable[[], Awaitable[T]]) -> T | None:
        """Return what was asked for, or None, with the part named as missing."""
        try:
            return await ask()
        except Problem as problem:
            if problem.status < 500:
                log.debug("an optional part was refused", part=part, kind=problem.kind)
            self.miss(part)
            return None

    async def authors_of(self, ids: Iterable[str]) -> Mapping[str, Json]:
        """Return authors by id; those that could not be looked up are left out, and `people` named as missing."""
        wanted = list(ids)
        found, complete, since = await self.authors.of(wanted, self._last_moment())
        self.tags.update(f"name:{person_id}" for person_id in wanted)
        self.since = min(self.since, since)
        if not complete:
            self.miss("people")
        return found

    async def comment_counts(self, posts: Iterable[Json]) -> Mapping[str, int | None]:
        """Return how many comments each of these posts shows to anonymous readers: none unless it is published."""
        counts: dict[str, int | None] = {}
        asked = []
        for post in posts:
            self.tags.add(f"post:{post['id']}")
            if post["status"] == "published":
                asked.append(post["id"])
            else:
                counts[post["id"]] = 0
        if asked:
            found = await self.optional("comment_count", lambda: self._count(asked))
            counts |= {post_id: found[post_id] if found is not None else None for post_id in asked}
        return counts

    async def _count(self, post_ids: list[str]) -> dict[str, int]:
        if not self.may_count:
            raise unavailable("Comments did not answer in time.")
        body = {"post_ids": post_ids}
        answer = await self.upstreams.comments.look_up("/counts", NOBODY, self._last_moment(), body)
        found: dict[str, int] = answer["counts"]
        return {post_id: found.get(post_id, 0) for post_id in post_ids}

    def apart(self) -> "RequestContext":
        """Return a context for parts that may turn out not to be needed: what they miss is not missing here yet.

        They get a share of the time, so that there is some left to ask for names.
        """
        now = time.monotonic()
        context = replace(
            self, missing=[], tags=set(), since=now, deadline=now + OPTIONAL_PARTS_SHARE * (self.deadline - now)
        )
        context.missing.clear()
        return context

    def _last_moment(self) -> float:
        """Return the deadline of parts asked for last: whatever was asked for before, they have a moment."""
        return max(self.deadline, time.monotonic() + LEAST_SECONDS)
