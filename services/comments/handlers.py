"""What comments does when posts speaks: it knows a post as its latest fact tells it."""

from services.chassis.database.pool import Transaction
from services.chassis.messaging.handlers import Handlers
from services.comments import store
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
async def know_post(tx: Transaction, fact: PostFact, envelope: Envelope) -> None:
    """Its discussion can be commented on from now, or not any more. An older fact that comes late changes nothing."""
    await store.upsert_discussion(tx, fact)
