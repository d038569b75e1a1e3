"""Harness for tests of comments: callers, and a published post over a database."""

from collections.abc import Awaitable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count, repeat
from typing import Any, Literal
from uuid import UUID, uuid4

import orjson
import pytest

from services.chassis.database.idempotency import Key, digest
from services.chassis.database.pool import Database
from services.chassis.errors import Problem
from services.chassis.identity import Caller
from services.comments import queries
from services.comments.commands import editing, moderating, posting
from services.comments.domain.comment import Step
from services.comments.store import discussion_rows
from services.contracts.comments import CreateComment, EditComment
from services.contracts.posts import PostPublished

WRITER = Caller("gateway", uuid4(), frozenset({"author"}))
ANN = Caller("gateway", uuid4())
BOB = Caller("gateway", uuid4())
MODERATOR = Caller("gateway", uuid4(), frozenset({"moderator"}))
ADMIN = Caller("gateway", uuid4(), frozenset({"admin"}))
NOBODY = Caller("gateway")
WINDOW = timedelta(seconds=900)


def person(caller: Caller) -> UUID:
    """Return the id of a signed-in caller."""
    assert caller.person_id is not None
    return caller.person_id


def post_fact(
    post_id: UUID,
    *,
    version: int = 1,
    status: Literal["draft", "published", "withdrawn"] = "published",
    discussion: Literal["open", "held", "closed"] = "open",
    revision: int = 1,
) -> PostPublished:
    """Return an event of posts about a post by WRITER."""
    return PostPublished(
        post_id=post_id,
        author_id=person(WRITER),
        kind="post",
        status=status,
        discussion=discussion,
        version=version,
        revision=revision,
        occurred_at=datetime.now(UTC),
    )


class Harness:
    """One post and its discussion over a database.

    Ids go in and representations come out as strings, as they do over HTTP.
    """

    def __init__(self, db: Database) -> None:
        self.db = db
        self.post_id = UUID(int=0)
        self._versions: dict[UUID, int] = {}
        self._numbers = count(1)
        self.queues: Iterator[posting.PostingQueue] = repeat(posting.PostingQueue(db))  # each comment takes the next

    async def publish_post(self, **fields: Any) -> UUID:
        """Publish another post; later calls comment on it."""
        self.post_id = uuid4()
        await self.change_post(**fields)
        return self.post_id

    async def change_post(self, **fields: Any) -> None:
        """Store a newer version of the post, as its next event would."""
        version = self._versions[self.post_id] = self._versions.get(self.post_id, 0) + 1
        async with self.db.transaction() as tx:
            await discussion_rows.upsert_discussions(tx, [(0, post_fact(self.post_id, version=version, **fields))])

    async def post_comment(
        self,
        who: Caller = ANN,
        parent: str | None = None,
        body: str | None = None,
        key: Key | None = None,
        read: int | None = None,
    ) -> dict[str, Any]:
        """Post a comment, each with a text of its own if none is given: the same one again would be the first."""
        text = body or f"Some *words* {next(self._numbers)}."
        command = CreateComment(body=text, parent_id=UUID(parent) if parent else None, answered_revision=read)
        return (await posting.post_comment(next(self.queues), who, self.post_id, command, key)).representation

    async def edit(self, comment_id: str, body: str, who: Caller = ANN, **options: Any) -> dict[str, Any]:
        options.setdefault("window", WINDOW)
        command = EditComment(body=body)
        return (await editing.edit_comment(self.db, who, UUID(comment_id), command, **options)).representation

    async def remove(self, comment_id: str, who: Caller = ANN, **options: Any) -> None:
        assert (await moderating.remove_comment(self.db, who, UUID(comment_id), **options)).status == 204

    async def moderate(self, comment_id: str, step: Step, who: Caller = MODERATOR, **options: Any) -> dict[str, Any]:
        return (await moderating.moderate_comment(self.db, who, UUID(comment_id), step, **options)).representation

    async def read(self, comment_id: str, who: Caller = NOBODY) -> dict[str, Any]:
        return await queries.comment(self.db, who, UUID(comment_id))

    async def page(self, who: Caller = NOBODY, sort: queries.Sort = "oldest", limit: int = 50) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = (await queries.comments(self.db, who, self.post_id, sort, None, limit))["items"]
        return items

    async def walk(self, who: Caller, sort: queries.Sort = "oldest", limit: int = 50) -> list[dict[str, Any]]:
        """Return every comment that this caller finds by following every `next`, in the order found."""
        found: list[dict[str, Any]] = []

        async def follow(comment: dict[str, Any]) -> None:
            found.append(comment)
            for reply in comment["replies"]["items"]:
                await follow(reply)
            cursor = comment["replies"]["next"]
            while cursor:
                page = await queries.replies(self.db, who, UUID(comment["id"]), cursor, limit)
                assert len(page["items"]) <= limit
                for reply in page["items"]:
                    await follow(reply)
                cursor = page["next"]

        cursor = None
        while True:
            page = await queries.comments(self.db, who, self.post_id, sort, cursor, limit)
            assert len(page["items"]) <= limit
            for comment in page["items"]:
                await follow(comment)
            cursor = page["next"]
            if cursor is None:
                return found

    async def count(self) -> int:
        """Return the number of visible comments of the post."""
        return (await queries.counts(self.db, [self.post_id]))[str(self.post_id)]

    async def events(self) -> list[dict[str, Any]]:
        """Return the events in the outbox, oldest first."""
        async with self.db.reader() as reader:
            rows = await reader.fetch("select type, key, subject, payload from outbox order by id")
        return [
            {"type": row["type"].split(".")[3], "key": row["key"], "subject": row["subject"]}
            | orjson.loads(row["payload"])
            for row in rows
        ]


async def refused(action: Awaitable[object]) -> Problem:
    """Return the problem that the action raises."""
    with pytest.raises(Problem) as refusal:
        await action
    return refusal.value


def request_key(who: Caller, text: str = "k", method: str = "POST", path: str = "/x", body: object = None) -> Key:
    """Return an idempotency key as a request of this person carries it."""
    return Key(person(who), text, method, path, digest(body))
