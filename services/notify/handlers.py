"""Events of comments to commands of notify."""

from collections.abc import Callable, Sequence
from datetime import timedelta

from services.chassis.database.pool import Transaction
from services.chassis.messaging.handlers import Handlers, context_of
from services.chassis.runtime import context
from services.contracts.comments import (
    CommentApproved,
    CommentEdited,
    CommentFact,
    CommentGone,
    CommentHeld,
    CommentImported,
    CommentPosted,
    CommentRejected,
    CommentRemoved,
    CommentRestored,
    CommentStated,
)
from services.contracts.event import Envelope
from services.notify import commands
from services.notify.commands import Reported

FACTS: tuple[type[CommentFact], ...] = (
    CommentPosted,
    CommentEdited,
    CommentRemoved,
    CommentHeld,
    CommentApproved,
    CommentRejected,
    CommentRestored,
    CommentImported,
    CommentStated,
)


def build(settle_seconds: float, expect_fan_out: Callable[[], None] = lambda: None) -> Handlers:
    """Return the handlers of the group `notify`.

    Args:
        settle_seconds: how long after its event was handled a notification is due.
        expect_fan_out: called when a transaction, not committed yet, leaves followers to be told.
    """
    handlers = Handlers()
    settle = timedelta(seconds=settle_seconds)

    @handlers.on_runs(*FACTS)
    async def comments_changed(tx: Transaction, run: Sequence[tuple[CommentFact, Envelope]]) -> None:
        reports = [Reported(event, envelope.epoch, context_of(envelope)) for event, envelope in run]
        if await commands.record(tx, reports, settle):
            expect_fan_out()

    @handlers.on(CommentGone)
    async def comment_gone(tx: Transaction, event: CommentGone, envelope: Envelope) -> None:
        await commands.record_gone(tx, event, envelope.epoch, context.current())

    return handlers
