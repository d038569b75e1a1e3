"""Handlers of the events of posts: each keeps the newest state of its post."""

from collections.abc import Sequence
from uuid import UUID

from services.chassis.database.pool import Transaction
from services.chassis.messaging.handlers import Handlers
from services.comments.store import discussion_rows
from services.contracts.event import Envelope
from services.contracts.posts import (
    PostDeleted,
    PostDrafted,
    PostEdited,
    PostFact,
    PostGone,
    PostImported,
    PostPublished,
    PostStated,
    PostWithdrawn,
)

handlers = Handlers()


@handlers.on_runs(PostDrafted, PostPublished, PostEdited, PostWithdrawn, PostImported, PostStated)
async def update_discussions(tx: Transaction, run: Sequence[tuple[PostFact, Envelope]]) -> None:
    """Store what each post says of its discussion. An older fact that comes late changes nothing."""
    newest: dict[UUID, tuple[int, PostFact]] = {}
    for fact, envelope in run:
        epoch, known = newest.get(fact.post_id, (-1, fact))
        if (epoch, known.version) < (envelope.epoch, fact.version):
            newest[fact.post_id] = (envelope.epoch, fact)
    await discussion_rows.upsert_discussions(tx, list(newest.values()))


@handlers.on(PostGone)
async def hide_discussion(tx: Transaction, event: PostGone, envelope: Envelope) -> None:
    """Hide the discussion of a post that is not there. A later fact about the post shows it again."""
    await discussion_rows.mark_gone(tx, event.post_id, envelope.epoch, event.version)


@handlers.on(PostDeleted)
async def drop_discussion(tx: Transaction, fact: PostDeleted, envelope: Envelope) -> None:
    """Hide the discussion of a draft that was deleted; it has no comments."""
    await discussion_rows.mark_gone(tx, fact.post_id, envelope.epoch, fact.version)
