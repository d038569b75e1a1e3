"""Storing comments that come at the same time in one transaction: a busy thread waits for one commit, not for many.

One bad comment fails nobody else: a refusal is an outcome, and if a group as a whole cannot be stored, each of its
comments is tried alone. Alone goes also what needs more looking up: a key that was used before, an answer to what is
hidden. A discussion that somebody else has locked holds nobody up: its comments wait for the lock in a second line.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from uuid import UUID

import structlog

from services.chassis.database import idempotency
from services.chassis.database.idempotency import Kept
from services.chassis.database.pool import Database, Transaction
from services.chassis.errors import Problem
from services.chassis.messaging import outbox
from services.chassis.runtime import context
from services.chassis.runtime.batcher import Batcher
from services.chassis.text.renderer_pool import RENDERER_VERSION
from services.comments import store
from services.comments.commands.answers import Done
from services.comments.commands.posting import (
    Prepared,
    answerable,
    completed,
    first_state,
    not_a_parent,
    posted,
    store_alone,
)
from services.comments.domain import comment as rules
from services.comments.domain.comment import Comment, Discussion
from services.comments.domain.tree import Change
from services.contracts.comments import CommentPosted

log = structlog.get_logger(__name__)

Lock = Callable[[Transaction, Collection[UUID]], Awaitable[dict[UUID, Discussion]]]


class Put(Enum):
    """Why a comment was not stored in a group, and is to go elsewhere."""

    LOCKED = "its discussion is locked, or not known"
    ALONE = "it needs a transaction of its own"


class Group:
    """Stores prepared comments, together where they come together."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._at_once: Batcher[Prepared, Done | Put] = Batcher(partial(self._many, store.lock_free_discussions))
        self._waiting: Batcher[Prepared, Done | Put] = Batcher(partial(self._many, store.lock_discussions))

    async def store(self, new: Prepared) -> Done:
        """Store one comment.

        Raises:
            Problem: as `store_alone`.
        """
        done = await self._at_once.submit(new)
        if done is Put.LOCKED:
            done = await self._waiting.submit(new)
        return await store_alone(self._db, new) if isinstance(done, Put) else done

    async def _many(self, lock: Lock, batch: Sequence[Prepared]) -> Sequence[Done | Put | Exception]:
        """An outcome for each: done, refused, or where it has to go."""
        try:
            async with self._db.transaction() as tx:
                return await _store(tx, lock, batch)
        except Problem:  # the database is away, for one as for all; the outcome may be unknown, so nothing is repeated
            raise
        except Exception:
            log.exception("a group could not be stored; each of it goes alone", size=len(batch))
            return [Put.ALONE] * len(batch)


@dataclass(frozen=True)
class _Stored:
    new: Prepared
    comment: Comment
    discussion: Discussion
    done: Done


async def _store(tx: Transaction, lock: Lock, batch: Sequence[Prepared]) -> list[Done | Put | Exception]:
    outcomes: list[Done | Put | Exception] = [Put.ALONE] * len(batch)
    fresh = await _fresh(tx, batch)
    discussions = await lock(tx, {batch[place].post_id for place in fresh})
    wanted = {parent_id for place in fresh if (parent_id := batch[place].parent_id)}
    parents = {parent.id: parent for parent in await store.find_many(tx, list(wanted))} if wanted else {}
    stored: list[_Stored] = []
    for place in fresh:
        new = batch[place]
        discussion, parent = discussions.get(new.post_id), parents.get(new.parent_id) if new.parent_id else None
        if discussion is None:
            outcomes[place] = Put.LOCKED
        elif parent is None or parent.shown:
            try:
                comment = _comment(new, discussion, parent)
            except Problem as problem:
                outcomes[place] = problem
            else:
                outcomes[place] = done = posted(comment, new.caller)
                stored.append(_Stored(new, comment, discussion, done))
    await _write(tx, stored)
    return outcomes


def _comment(new: Prepared, discussion: Discussion, parent: Comment | None) -> Comment:
    """The comment, if it may stand there.

    Raises:
        Problem: as `store_alone`.
    """
    state = first_state(discussion, new)
    if new.parent_id and (parent is None or parent.post_id != new.post_id):
        raise not_a_parent()
    return completed(new, state, answerable(parent) if parent else None)


async def _fresh(tx: Transaction, batch: Sequence[Prepared]) -> list[int]:
    """Places of those without a key, and of those whose key is new, at work nowhere else, and in this batch once."""
    uses = Counter((new.key.person_id, new.key.key) for new in batch if new.key)
    keyed = {place: new.key for place, new in enumerate(batch) if new.key and uses[new.key.person_id, new.key.key] == 1}
    are_fresh = await idempotency.are_fresh(tx, list(keyed.values())) if keyed else []
    fresh = {place for place, is_fresh in zip(keyed, are_fresh, strict=True) if is_fresh}
    return [place for place, new in enumerate(batch) if new.key is None or place in fresh]


async def _write(tx: Transaction, stored: Sequence[_Stored]) -> None:
    comments = [one.comment for one in stored]
    await store.insert_all(tx, comments, RENDERER_VERSION)
    await store.update_above(tx, _changes(comments))
    rows = []
    for one in stored:
        with context.bound(one.new.context):
            rows.append(outbox.row(rules.fact(CommentPosted, one.comment, one.discussion)))
    await outbox.add_all(tx, rows)
    await idempotency.keep_all(
        tx,
        [
            (one.new.key, Kept(one.done.status, one.done.location, one.comment.id, one.done.representation))
            for one in stored
            if one.new.key
        ],
    )


def _changes(comments: Sequence[Comment]) -> list[Change]:
    """What new comments mean for their parents, all of which are shown."""
    every = Counter(comment.parent_id for comment in comments if comment.parent_id)
    visible = Counter(comment.parent_id for comment in comments if comment.parent_id and comment.shown)
    return [
        Change(parent_id, count, visible[parent_id], visible[parent_id], shown=True)
        for parent_id, count in every.items()
    ]
