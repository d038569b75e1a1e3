"""Posting: the one command that is hot enough to share a transaction with others of its kind.

Comments that come at the same time are stored in one batch, so a busy thread waits for one commit and not for many.
A refusal is an outcome of its own item and fails no other; a batch that fails as a whole is stored item by item.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeGuard
from uuid import UUID

import structlog
from cachetools import LRUCache
from pydantic import ValidationError

from services.chassis.database.idempotency import CommandResult, Key, key_of
from services.chassis.database.pool import Database
from services.chassis.errors import Problem, unavailable
from services.chassis.identity import Caller
from services.chassis.ids import moment_of, new_id
from services.chassis.runtime import context
from services.chassis.runtime.batcher import Batcher
from services.chassis.runtime.context import Context
from services.chassis.text.renderer import is_busy, is_long, render, render_at_once
from services.comments.commands.storing import (
    Deferred,
    Outcome,
    Prepared,
    decide_early,
    store_alone,
    store_at_once,
    store_locked,
)
from services.comments.domain.comment import Discussion
from services.contracts.comments import CommentOfBatch, CreateComment

log = structlog.get_logger(__name__)

Way = Callable[[Sequence[Prepared]], Awaitable[Sequence[Outcome]]]
MOST_KNOWN = 1_000  # discussions
LONGEST_TURN_SECONDS = 0.001  # of rendering, and one text more: the costliest short one takes 5 ms


async def post_comment(
    queue: "PostingQueue", caller: Caller, post_id: UUID, command: CreateComment, key: Key | None = None
) -> CommandResult:
    """Comment on a post, or reply to a comment of it.

    Raises:
        Problem: `sign-in-required`, `post-unknown`, `discussion-closed`, `invalid` for the body or `parent_id`, and
            those of the idempotency key.
    """
    unrendered = _unrendered(caller, post_id, command, key, context.current())
    if is_long(command.body) and (result := await queue.decide_early(unrendered)) is not None:
        return result
    return await queue.store(await _rendered(queue, unrendered))


async def post_batch(queue: "PostingQueue", items: Sequence[CommentOfBatch]) -> list[dict[str, Any] | None]:
    """Post the comments of a batch that need nothing but to be stored. None stands for each that is to be sent alone.

    Those are the ones that are long or refused, replay a key, have a twin, whose discussion somebody has locked, or
    whose author waits for a long text, as all others would.

    Raises:
        Problem: `unavailable`: it is not known which of them were stored.
    """
    checked = [_checked(item) for item in items]  # all by all, step by step: what is repeated at once is cheaper
    prepared: list[Prepared | None] = []
    turn_ends = time.monotonic() + LONGEST_TURN_SECONDS
    for one in checked:
        if time.monotonic() > turn_ends:
            await asyncio.sleep(0)  # other requests wait
            turn_ends = time.monotonic() + LONGEST_TURN_SECONDS
        prepared.append(None if one is None else _rendered_at_once(queue, one))
    outcomes = iter(await queue.store_batch([one for one in prepared if one is not None]))
    found = [None if one is None else next(outcomes) for one in prepared]
    for outcome in found:
        if isinstance(outcome, Problem) and outcome.kind == "unavailable":
            raise outcome
    return [outcome.representation if _is_new(outcome) else None for outcome in found]


def _is_new(outcome: object) -> TypeGuard[CommandResult]:
    return isinstance(outcome, CommandResult) and not outcome.replayed


def _checked(item: CommentOfBatch) -> Prepared | None:
    caller = Caller("gateway", item.author_id, frozenset(item.roles))
    deadline = time.monotonic() + item.seconds
    of_request = Context(item.request_id, None, context.next_hop(item.traceparent), deadline)
    try:
        command = CreateComment.model_validate(item.comment)
        key = None
        if item.key is not None:
            path = f"/posts/{item.post_id}/comments"
            key = key_of(item.author_id, item.key, "POST", path, item.comment)
    except (ValidationError, Problem):  # sent alone, it gets its refusal
        return None
    return None if is_long(command.body) else _unrendered(caller, item.post_id, command, key, of_request)


def _rendered_at_once(queue: "PostingQueue", item: Prepared) -> Prepared | None:
    """Render a short text; None if its author waits for another one, or it is refused."""
    if is_busy(item.author_id):
        return None
    try:
        body_html = render_at_once(
            item.body, "markdown", "comment", anchor=str(item.id), picture_hosts=queue.picture_hosts
        )
    except Problem:
        return None
    return replace(item, body_html=body_html)


def _unrendered(caller: Caller, post_id: UUID, command: CreateComment, key: Key | None, request: Context) -> Prepared:
    comment_id = new_id()
    return Prepared(
        id=comment_id,
        post_id=post_id,
        parent_id=command.parent_id,
        caller=caller,
        author_id=caller.require_person(),
        body=command.body,
        body_html="",
        answered_revision=command.answered_revision,
        created_at=moment_of(comment_id),
        key=key,
        context=request,
    )


async def _rendered(queue: "PostingQueue", item: Prepared) -> Prepared:
    """Render the text.

    Raises:
        Problem: `invalid` naming `body`, `unavailable`.
    """
    body_html = await render(
        item.body,
        "markdown",
        "comment",
        anchor=str(item.id),
        picture_hosts=queue.picture_hosts,
        owner=item.author_id,
    )
    return replace(item, body_html=body_html)


class PostingQueue:
    """Two lines of prepared comments, each stored batch by batch.

    The first line leaves out discussions that another transaction has locked or changed, so that they hold up no
    others; their comments wait for the lock in the second line.

    Args:
        picture_hosts: whose pictures a comment may show.
    """

    def __init__(self, db: Database, picture_hosts: Collection[str] = ()) -> None:
        self.picture_hosts = picture_hosts
        self._db = db
        self._known: LRUCache[UUID, Discussion] = LRUCache(MOST_KNOWN)
        self._first: Batcher[Prepared, CommandResult | Deferred] = Batcher(partial(self._store, self._store_at_once))
        self._second: Batcher[Prepared, CommandResult | Deferred] = Batcher(partial(self._store, self._store_locked))

    async def store(self, item: Prepared) -> CommandResult:
        """Store one comment, together with those that come at the same time.

        The Batcher raises an outcome that is a Problem; one of a comment that is stored alone is raised here.

        Raises:
            Problem: as `post_comment`.
        """
        outcome: Outcome = await self._first.submit(item)
        if outcome is Deferred.LOCKED:
            outcome = await self._second.submit(item)
        if outcome in (Deferred.ALONE, Deferred.LOCKED):
            async with self._db.transaction() as tx:
                outcome = await store_alone(tx, item)
        if outcome is Deferred.LATE:
            raise unavailable("It came too late, and was not stored.")
        if isinstance(outcome, Problem):
            raise outcome
        assert isinstance(outcome, CommandResult)
        return outcome

    async def store_batch(self, items: Sequence[Prepared]) -> Sequence[Outcome | Exception]:
        """Store comments that came together, as far as they need no transaction of their own."""
        return await self._first.submit_all(items) if items else []

    async def decide_early(self, item: Prepared) -> CommandResult | None:
        """Replay a used key, or refuse what would be refused anyhow, before its text is rendered; None decides nothing.

        Raises:
            Problem: as `post_comment`.
        """
        async with self._db.transaction() as tx:
            return await decide_early(tx, item)

    async def _store(self, way: Way, batch: Sequence[Prepared]) -> Sequence[Outcome]:
        """Store a batch without those for which nobody waits any more: a slow database has enough to do with others."""
        wanted = {item.id: item for item in batch if not item.context.is_over}
        outcomes: dict[UUID, Outcome] = {}
        if wanted:
            outcomes = dict(zip(wanted, await self._store_wanted(way, list(wanted.values())), strict=True))
        return [outcomes.get(item.id, Deferred.LATE) for item in batch]

    async def _store_wanted(self, way: Way, batch: Sequence[Prepared]) -> Sequence[Outcome]:
        try:
            return await way(batch)
        except Problem:  # of the database: whether the batch was committed is unknown, so nothing of it is repeated
            raise
        except Exception:
            log.exception("a batch of comments failed; each of them is stored alone", size=len(batch))
            return [Deferred.ALONE] * len(batch)

    async def _store_at_once(self, batch: Sequence[Prepared]) -> Sequence[Outcome]:
        return await store_at_once(self._db, batch, self._known)

    async def _store_locked(self, batch: Sequence[Prepared]) -> Sequence[Outcome]:
        async with self._db.transaction() as tx:
            return await store_locked(tx, batch)
