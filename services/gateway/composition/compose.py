"""One answer made of several services' answers: one deadline for all, and a list of what could not be had.

A required part that fails fails the answer. An optional one is left out and named in `missing`.
"""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog

from services.chassis.errors import Problem
from services.gateway.access.authentication import NOBODY, Viewer
from services.gateway.composition.author_cache import AuthorCache
from services.gateway.composition.upstreams import Upstreams

log = structlog.get_logger(__name__)

Json = dict[str, Any]
T = TypeVar("T")


@dataclass
class Look:
    """One request while its answer is put together.

    Attributes:
        deadline: when it must be answered, a moment of `time.monotonic()`.
        missing: optional parts that could not be had, in the words of the API.
        about: tags of everything that the answer is made of; see `cache`.
        since: when the oldest part of it was asked for.
    """

    viewer: Viewer
    deadline: float
    missing: list[str] = field(default_factory=list)
    about: set[str] = field(default_factory=set)
    since: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        if not self.viewer.sure:
            self.lacks("viewer")

    def lacks(self, part: str) -> None:
        if part not in self.missing:
            self.missing.append(part)


@dataclass(frozen=True)
class Sources:
    """Where the parts come from.

    Attributes:
        slugs: ids of posts by slug, remembered so that a page's parts can be asked for at once; only a hint.
        page_patience: seconds a page waits for comments to hear of a post that was just published.
    """

    upstreams: Upstreams
    names: AuthorCache
    public_url: str
    page_patience: float = 0.5
    slugs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Composed:
    """A public thing and its version (0 for what has none)."""

    data: Json
    version: int = 0


async def optional(look: Look, part: str, ask: Callable[[], Awaitable[T]]) -> T | None:
    """What was asked for, or None, with the part named as missing."""
    try:
        return await ask()
    except Problem as problem:
        if problem.status < 500:
            log.error("an optional part was refused", part=part, kind=problem.kind)
        look.lacks(part)
        return None


async def authors(sources: Sources, look: Look, ids: Iterable[str]) -> Mapping[str, Json]:
    """Authors by id; those without a name are shown without one."""
    wanted = list(ids)
    found, complete, since = await sources.names.of(wanted, look.deadline)
    look.about.update(f"name:{person_id}" for person_id in wanted)
    look.since = min(look.since, since)
    if not complete:
        look.lacks("people")
    return found


async def comment_counts(sources: Sources, look: Look, posts: Iterable[Json]) -> Mapping[str, int | None]:
    """How many comments each of these posts shows to strangers: none unless it is published."""
    counts: dict[str, int | None] = {}
    asked = []
    for post in posts:
        look.about.add(f"post:{post['id']}")
        if post["status"] == "published":
            asked.append(post["id"])
        else:
            counts[post["id"]] = 0
    if asked:
        found = await optional(look, "comment_count", lambda: _counts(sources, look, asked))
        counts |= {post_id: found[post_id] if found is not None else None for post_id in asked}
    return counts


async def _counts(sources: Sources, look: Look, post_ids: list[str]) -> dict[str, int]:
    answer = await sources.upstreams.comments.send(
        "POST", "/counts", NOBODY, look.deadline, body={"post_ids": post_ids}
    )
    found: dict[str, int] = answer.json()["counts"]
    return {post_id: found.get(post_id, 0) for post_id in post_ids}
