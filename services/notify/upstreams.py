"""Ask people, comments and posts what a mail depends on, as it is now: their answers are not cached."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from services.chassis.client.client import ServiceClient, ServiceResponse, within
from services.chassis.errors import unavailable
from services.notify.domain import Claimed, Comment
from services.notify.objections import Answers, CommentNow, Contact, PostNow, Waiting, WaitingComment

K = TypeVar("K")
T = TypeVar("T")

DEADLINE_SECONDS = 2.0
MOST_IDS = 200  # of one look-up


class Upstreams:
    """The services that notify asks.

    Every method raises `Problem` of kind `unavailable` when a service cannot be asked or does not answer in time.
    """

    def __init__(self, *, people: ServiceClient, comments: ServiceClient, posts: ServiceClient) -> None:
        self._people = people
        self._comments = comments
        self._posts = posts

    async def ask(self, batch: Sequence[Claimed]) -> dict[tuple[UUID, UUID], Answers]:
        """Return the answers about each claimed row, by person and comment; each look-up is called once for all."""
        asked_at = time.monotonic()
        about = [row for row in batch if not row.moderation]
        contacts, names, comments, posts, waiting = await asyncio.gather(
            _lookup(self._people, "/contacts/lookup", (row.person_id for row in batch), _contact),
            _lookup(self._people, "/people/lookup", (row.author_id for row in about), _name),
            _lookup(self._comments, "/comments/lookup", (row.comment_id for row in about), _comment_now),
            _lookup(self._posts, "/posts/lookup", (row.post_id for row in about), _post_now),
            self._waiting([row for row in batch if row.moderation]),
        )
        titles = await self._thread_titles(about, posts)
        return {
            (row.person_id, row.comment_id): Answers(
                asked_at=asked_at,
                contact=contacts.get(row.person_id),
                commenter_name=names.get(row.author_id) if row.author_id else None,
                comment=comments.get(row.comment_id),
                post=posts.get(row.post_id),
                thread_title=titles.get((row.post_id, row.thread_revision)),
                waiting=waiting.get(row.id),
            )
            for row in batch
        }

    async def _waiting(self, batch: Sequence[Claimed]) -> dict[UUID, Waiting]:
        """Return what waits of that which each mail to a moderator is to name, and how much waits in all."""
        if not batch:
            return {}
        wanted = {comment_id for row in batch for comment_id in row.waiting}
        comments = await _lookup(self._comments, "/comments/lookup", wanted, _held)
        held = {comment_id: one for comment_id, one in comments.items() if one is not None}
        names, posts, total = await asyncio.gather(
            _lookup(self._people, "/people/lookup", (one.author_id for one in held.values()), _name),
            _lookup(self._posts, "/posts/lookup", (one.post_id for one in held.values()), _post_now),
            self._total_waiting(),
        )
        found = {
            comment_id: WaitingComment(comment_id, names.get(one.author_id, ""), post, one.created_at)
            for comment_id, one in held.items()
            if (post := posts.get(one.post_id)) is not None and post.status == "published"
        }
        return {
            row.id: Waiting(tuple(found[one] for one in sorted(row.waiting) if one in found), total) for row in batch
        }

    async def _total_waiting(self) -> int:
        answer = await self._comments.call("GET", "/comments/waiting", deadline=within(DEADLINE_SECONDS))
        return int(_read(answer, "/comments/waiting", lambda body: body["waiting"]))

    async def moderators(self) -> list[UUID]:
        """Return who may moderate."""
        answer = await self._people.call("GET", "/moderators", deadline=within(DEADLINE_SECONDS))
        return _read(answer, "/moderators", lambda body: [UUID(one) for one in body["ids"]])

    async def _thread_titles(
        self, batch: Sequence[Claimed], posts: Mapping[UUID, PostNow]
    ) -> dict[tuple[UUID, int | None], str]:
        """Return the titles of the revisions that name threads, of posts that have changed since; seldom any have."""
        wanted = {
            (row.post_id, row.thread_revision)
            for row in batch
            if row.thread_revision is not None
            and (post := posts.get(row.post_id)) is not None
            and post.revision not in (None, row.thread_revision)
        }
        if not wanted:
            return {}
        body = {"revisions": [{"id": str(post_id), "revision": number} for post_id, number in sorted(wanted)]}
        return await _call(self._posts, "/posts/titles/lookup", body, _title)

    async def comment(self, comment_id: UUID) -> Comment | None:
        """Return the structure of a comment whose event has not arrived yet; None if there is no such comment."""
        found = await _lookup(self._comments, "/comments/lookup", [comment_id], _comment)
        return found.get(comment_id)


async def _lookup(
    service: ServiceClient, path: str, ids: Iterable[UUID | None], read: Callable[[dict[str, Any]], T]
) -> dict[UUID, T]:
    """Return what the service answers about each id; nothing is asked about none."""
    wanted = sorted({str(one) for one in ids if one is not None})
    found: dict[UUID, T] = {}
    for start in range(0, len(wanted), MOST_IDS):
        ids_of_call = {"ids": wanted[start : start + MOST_IDS]}
        found |= await _call(service, path, ids_of_call, lambda item: (UUID(item["id"]), read(item)))
    return found


async def _call(
    service: ServiceClient, path: str, body: dict[str, Any], read: Callable[[dict[str, Any]], tuple[K, T]]
) -> dict[K, T]:
    answer = await service.call("POST", path, body=body, deadline=within(DEADLINE_SECONDS))
    return _read(answer, path, lambda found: dict(map(read, found["items"])))


def _read(answer: ServiceResponse, path: str, read: Callable[[Any], T]) -> T:
    if answer.status != 200:
        raise unavailable(f"{path} answered {answer.status}.")
    try:
        return read(answer.json())
    except (ValueError, TypeError, KeyError) as error:
        raise unavailable(f"{path} gave a malformed answer.") from error


def _contact(item: dict[str, Any]) -> Contact:
    version, moderates = int(item["address_version"] or 0), item.get("moderates") is True  # an old people does not say
    return Contact(item["email"], item["confirmed"] is True, version, moderates)


def _name(item: dict[str, Any]) -> str:
    return str(item["name"] or "")


def _comment_now(item: dict[str, Any]) -> CommentNow:
    return CommentNow(
        state=item["state"],
        body_html=item["body_html"] or "",
        imported=item["imported"] is True,
        version=int(item["version"]),
        ancestors=tuple(UUID(one) for one in item["ancestors"]),
        epoch=int(item.get("epoch", 0)),
    )


@dataclass(frozen=True)
class _Held:
    author_id: UUID
    post_id: UUID
    created_at: datetime


def _held(item: dict[str, Any]) -> _Held | None:
    if item["state"] != "held" or item["imported"] is True:
        return None
    return _Held(UUID(item["author_id"]), UUID(item["post_id"]), datetime.fromisoformat(item["created_at"]))


def _comment(item: dict[str, Any]) -> Comment:
    return Comment(
        comment_id=UUID(item["id"]),
        post_id=UUID(item["post_id"]),
        post_author_id=UUID(item["post_author_id"]),
        parent_id=UUID(item["parent_id"]) if item["parent_id"] else None,
        parent_author_id=UUID(item["parent_author_id"]) if item["parent_author_id"] else None,
        author_id=UUID(item["author_id"]),
        state=item["state"],
        imported=item["imported"] is True,
        version=int(item["version"]),
    )


def _post_now(item: dict[str, Any]) -> PostNow:
    return PostNow(item["status"], item["title"] or "", item["slug"], item.get("revision"))


def _title(item: dict[str, Any]) -> tuple[tuple[UUID, int | None], str]:
    return (UUID(item["id"]), int(item["revision"])), item["title"] or ""
