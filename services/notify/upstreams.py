"""Ask people, comments and posts what a mail depends on, as it is now: their answers are not cached."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

from services.chassis.client.client import ServiceClient, within
from services.chassis.errors import unavailable
from services.notify.domain import Answers, Claimed, Comment, CommentNow, Contact, PostNow

K = TypeVar("K")
T = TypeVar("T")

DEADLINE_SECONDS = 2.0


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
        contacts, names, comments, posts = await asyncio.gather(
            _lookup(self._people, "/contacts/lookup", (row.person_id for row in batch), _contact),
            _lookup(self._people, "/people/lookup", (row.author_id for row in batch), _name),
            _lookup(self._comments, "/comments/lookup", (row.comment_id for row in batch), _comment_now),
            _lookup(self._posts, "/posts/lookup", (row.post_id for row in batch), _post_now),
        )
        titles = await self._thread_titles(batch, posts)
        return {
            (row.person_id, row.comment_id): Answers(
                asked_at=asked_at,
                contact=contacts.get(row.person_id),
                commenter_name=names.get(row.author_id),
                comment=comments.get(row.comment_id),
                post=posts.get(row.post_id),
                thread_title=titles.get((row.post_id, row.thread_revision)),
            )
            for row in batch
        }

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
    service: ServiceClient, path: str, ids: Iterable[UUID], read: Callable[[dict[str, Any]], T]
) -> dict[UUID, T]:
    wanted = sorted({str(one) for one in ids})
    return await _call(service, path, {"ids": wanted}, lambda item: (UUID(item["id"]), read(item)))


async def _call(
    service: ServiceClient, path: str, body: dict[str, Any], read: Callable[[dict[str, Any]], tuple[K, T]]
) -> dict[K, T]:
    answer = await service.call("POST", path, body=body, deadline=within(DEADLINE_SECONDS))
    if answer.status != 200:
        raise unavailable(f"{path} answered {answer.status}.")
    try:
        return dict(map(read, answer.json()["items"]))
    except (ValueError, TypeError, KeyError) as error:
        raise unavailable(f"{path} gave a malformed answer.") from error


def _contact(item: dict[str, Any]) -> Contact:
    return Contact(item["email"], item["confirmed"] is True, int(item["address_version"] or 0))


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
