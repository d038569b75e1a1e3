"""What commands answer, how the answer is kept under an idempotency key, and how it is given again."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from services.chassis.database import idempotency
from services.chassis.database.idempotency import Kept, Key
from services.chassis.database.pool import Transaction
from services.chassis.identity import Caller
from services.chassis.messaging import outbox
from services.comments import pages, store
from services.comments.domain import comment as rules
from services.comments.domain.comment import Comment, Discussion
from services.contracts.comments import CommentFact

TEXT_FIELDS = ("body", "body_html")
NO_REPLIES: dict[str, Any] = {"items": [], "next": None}


@dataclass(frozen=True)
class Done:
    """What a command answers: the comment as it is after it, or as it was after the first request with this key."""

    status: int
    representation: dict[str, Any] | None = None
    location: str | None = None
    replayed: bool = False


async def changed(
    tx: Transaction,
    discussion: Discussion,
    comment_id: UUID,
    kind: type[CommentFact] | None,
    caller: Caller,
    key: Key | None,
) -> Done:
    """Tell what happened, if anything did, and answer with the comment as this caller sees it now."""
    comment = await store.find(tx, comment_id)
    assert comment is not None
    if kind is not None:
        await outbox.add(tx, rules.fact(kind, comment, discussion))
    done = Done(200, await _seen(tx, comment, caller))
    await keep(tx, key, done, comment_id)
    return done


async def _seen(tx: Transaction, comment: Comment, caller: Caller) -> dict[str, Any] | None:
    return await pages.one(tx, comment, caller, await pages.own_of(tx, caller, comment.post_id))


async def keep(tx: Transaction, key: Key | None, done: Done, comment_id: UUID) -> None:
    """Keep the answer without the replies in it: their texts are not this comment's and go when their time comes."""
    if key is None or done.representation is None:
        return
    kept = dict(done.representation)
    if kept["replies"] != NO_REPLIES:
        del kept["replies"]
    await idempotency.keep(tx, key, Kept(done.status, done.location, comment_id, kept))


async def replayed(tx: Transaction, kept: Kept, caller: Caller) -> Done:
    """The first answer again, with the version of now; without its text once it was removed."""
    assert kept.representation is not None
    assert kept.subject is not None
    comment = await store.find(tx, kept.subject)
    assert comment is not None
    then = kept.representation | {"version": comment.version}
    if comment.state == "removed":
        then |= {field: None for field in TEXT_FIELDS if field in then}
    if "replies" not in then:
        now = await _seen(tx, comment, caller)
        then["replies"] = now["replies"] if now else NO_REPLIES
    return Done(kept.status, then, kept.location, replayed=True)
