"""The result of a command: how it is made, kept under an idempotency key, and replayed."""

from typing import Any
from uuid import UUID

from services.chassis.database import idempotency
from services.chassis.database.idempotency import CommandResult, Kept, Key
from services.chassis.database.pool import Transaction
from services.chassis.identity import Caller
from services.chassis.messaging import outbox
from services.comments import listing
from services.comments.domain import comment as rules
from services.comments.domain.comment import Comment, Discussion
from services.comments.store import comment_rows, discussion_rows
from services.comments.visibility import seen_hidden_by
from services.contracts.comments import CommentFact

TEXT_FIELDS = ("body", "body_html")
NO_REPLIES: dict[str, Any] = {"items": [], "next": None}


async def finish(
    tx: Transaction,
    discussion: Discussion,
    comment_id: UUID,
    kind: type[CommentFact] | None,
    caller: Caller,
    key: Key | None,
) -> CommandResult:
    """Publish what happened, if anything did, and return the comment as this caller sees it now."""
    comment = await comment_rows.find(tx, comment_id)
    assert comment is not None
    if kind is not None:
        await outbox.add(tx, rules.fact(kind, comment, discussion))
    result = CommandResult(200, await _with_replies(tx, comment, caller) | rules.of_discussion(discussion))
    await idempotency.keep(tx, key, Kept(result.status, result.location, comment_id, _without_replies(result)))
    return result


def _without_replies(result: CommandResult) -> dict[str, Any]:
    """Return what is kept under a key. The text of a reply is not: it belongs to another comment and goes with that."""
    kept = dict(result.representation)
    if kept["replies"] != NO_REPLIES:
        del kept["replies"]
    return kept


async def _with_replies(tx: Transaction, comment: Comment, caller: Caller) -> dict[str, Any]:
    return await listing.with_replies(tx, comment, caller, await seen_hidden_by(tx, caller, comment.post_id))


async def _of_discussion(tx: Transaction, comment: Comment) -> dict[str, Any]:
    discussion = await discussion_rows.find_discussion(tx, comment.post_id)
    assert discussion is not None
    return rules.of_discussion(discussion)


async def replayed(tx: Transaction, kept: Kept, caller: Caller) -> CommandResult:
    """Return the first answer again with the version of now, without its text once the comment was removed."""
    assert kept.representation is not None
    assert kept.subject is not None
    comment = await comment_rows.find(tx, kept.subject)
    assert comment is not None
    then = kept.representation | {"version": comment.version} | await _of_discussion(tx, comment)
    if comment.state == "removed":
        then |= {field: None for field in TEXT_FIELDS if field in then}
    if "replies" not in then:
        then["replies"] = (await _with_replies(tx, comment, caller))["replies"]
    return CommandResult(kept.status, then, kept.location, replayed=True)


async def twin(tx: Transaction, comment_id: UUID, caller: Caller, key: Key | None) -> CommandResult:
    """Return the comment that stands already instead of the same one posted again, and keep it under the new key."""
    comment = await comment_rows.find(tx, comment_id)
    assert comment is not None
    representation = await _with_replies(tx, comment, caller) | await _of_discussion(tx, comment)
    result = CommandResult(201, representation, f"/v1/comments/{comment_id}", replayed=True)
    await idempotency.keep(tx, key, Kept(result.status, result.location, comment_id, _without_replies(result)))
    return result
