"""Handlers of the events of posts: each keeps the newest state of its post."""

from services.chassis.database.pool import Transaction
from services.chassis.messaging.handlers import Handlers
from services.comments.store import discussion_rows
from services.contracts.event import Envelope
from services.contracts.posts import (
    PostDrafted,
    PostEdited,
    PostFact,
    PostImported,
    PostPublished,
    PostStated,
    PostWithdrawn,
)

handlers = Handlers()


@handlers.on(PostDrafted, PostPublished, PostEdited, PostWithdrawn, PostImported, PostStated)
async def update_discussion(tx: Transaction, fact: PostFact, envelope: Envelope) -> None:
    """Store what the post says of its discussion. An older fact that comes late changes nothing."""
    await discussion_rows.upsert_discussion(tx, fact, envelope.epoch)
