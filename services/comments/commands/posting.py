"""Posting: the one command that is hot enough to share a transaction with others of its kind.

Comments that come at the same time are stored in one batch, so a busy thread waits for one commit and not for many.
A refusal is an outcome of its own item and fails no other; a batch that fails as a whole is stored item by item.
"""

from collections.abc import Collection, Sequence
from functools import partial
from uuid import UUID

import structlog

from services.chassis.database.idempotency import CommandResult, Key
from services.chassis.database.pool import Database
from services.chassis.errors import Problem, unavailable
from services.chassis.identity import Caller
from services.chassis.ids import moment_of, new_id
from services.chassis.runtime import context
from services.chassis.runtime.batcher import Batcher
from services.chassis.text.renderer import is_long, render
from services.comments.commands.storing import Deferred, Lock, Outcome, Prepared, decide_early, store_batch
from services.contracts.comments import CreateComment

log = structlog.get_logger(__name__)


async def post_comment(
    queue: "PostingQueue", caller: Caller, post_id: UUID, command: CreateComment, key: Key | None = None
) -> CommandResult:
    """Comment on a post, or reply to a comment of it.

    Raises:
        Problem: `sign-in-required`, `post-unknown`, `discussion-closed`, `invalid` for the body or `parent_id`, and
            those of the idempotency key.
    """
    author_id = caller.require_person()
    comment_id = new_id()

    def prepared(body_html: str) -> Prepared:
        return Prepared(
            id=comment_id,
            post_id=post_id,
            parent_id=command.parent_id,
            caller=caller,
            author_id=author_id,
            body=command.body,
            body_html=body_html,
            answered_revision=command.answered_revision,
            created_at=moment_of(comment_id),
            key=key,
            context=context.current(),
        )

    if is_long(command.body) and (result := await queue.decide_early(prepared(""))) is not None:
        return result
    body_html = await render(
        command.body,
        "markdown",
        "comment",
        anchor=str(comment_id),
        picture_hosts=queue.picture_hosts,
        owner=author_id,
    )
    return await queue.store(prepared(body_html))


class PostingQueue:
    """Two lines of prepared comments, each stored batch by batch.

    The first line skips discussions that another transaction has locked, so that they hold up no others; their comments
    wait for the lock in the second line.

    Args:
        picture_hosts: whose pictures a comment may show.
    """

    def __init__(self, db: Database, picture_hosts: Collection[str] = ()) -> None:
        self.picture_hosts = picture_hosts
        self._db = db
        self._first: Batcher[Prepared, CommandResult | Deferred] = Batcher(partial(self._store, lock="skip locked"))
        self._second: Batcher[Prepared, CommandResult | Deferred] = Batcher(partial(self._store, lock="wait"))

    async def store(self, item: Prepared) -> CommandResult:
        """Store one comment, together with those that come at the same time.

        The Batcher raises an outcome that is a Problem; one of a comment that is stored alone is raised here.

        Raises:
            Problem: as `post_comment`.
        """
        outcome: Outcome = await self._first.submit(item)
        if outcome is Deferred.LOCKED:
            outcome = await self._second.submit(item)
        if outcome is Deferred.ALONE:
            async with self._db.transaction() as tx:
                (outcome,) = await store_batch(tx, [item], "wait")
        if isinstance(outcome, Problem):
            raise outcome
        assert isinstance(outcome, CommandResult)
        return outcome

    async def decide_early(self, item: Prepared) -> CommandResult | None:
        """Replay a used key, or refuse what would be refused anyhow, before its text is rendered; None decides nothing.

        Raises:
            Problem: as `post_comment`.
        """
        async with self._db.transaction() as tx:
            return await decide_early(tx, item)

    async def _store(self, batch: Sequence[Prepared], lock: Lock) -> Sequence[Outcome]:
        """Store a batch without those for which nobody waits any more: a slow database has enough to do with others."""
        wanted = {item.id: item for item in batch if not item.context.is_over}
        outcomes: dict[UUID, Outcome] = {}
        if wanted:
            outcomes = dict(zip(wanted, await self._store_wanted(list(wanted.values()), lock), strict=True))
        return [outcomes.get(item.id) or unavailable("It came too late, and was not stored.") for item in batch]

    async def _store_wanted(self, batch: Sequence[Prepared], lock: Lock) -> Sequence[Outcome]:
        try:
            async with self._db.transaction() as tx:
                return await store_batch(tx, batch, lock)
        except Problem:  # of the database: whether the batch was committed is unknown, so nothing of it is repeated
            raise
        except Exception:
            log.exception("a batch of comments failed; each of them is stored alone", size=len(batch))
            return [Deferred.ALONE] * len(batch)
