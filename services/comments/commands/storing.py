"""Storing prepared comments: the rules, once for one comment as for many that share a transaction."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from uuid import UUID

from services.chassis.database import idempotency
from services.chassis.database.idempotency import CommandResult, Kept, Key
from services.chassis.database.pool import Transaction
from services.chassis.errors import Problem, invalid
from services.chassis.identity import Caller
from services.chassis.messaging import outbox
from services.chassis.runtime.context import Context
from services.chassis.text.renderer import RENDERER_VERSION
from services.comments.commands.reply_counts import count_replies
from services.comments.commands.results import replayed, twin
from services.comments.domain import comment as rules
from services.comments.domain.comment import Comment, Discussion, new_comment
from services.comments.store import comment_rows, discussion_rows, posting_rows
from services.comments.store.posting_rows import Lock
from services.comments.visibility import can_see
from services.contracts.comments import CommentPosted
from services.contracts.people import is_moderator


@dataclass(frozen=True)
class Prepared:
    """A comment before it has touched the database: everything that its storing does not decide.

    Attributes:
        context: of the request, for the event: the task that stores it works for several requests.
        answered_revision: the revision of the post that the author has read, if their client says so.
    """

    id: UUID
    post_id: UUID
    parent_id: UUID | None
    caller: Caller
    author_id: UUID
    body: str
    body_html: str
    created_at: datetime
    key: Key | None
    context: Context
    answered_revision: int | None = None


class Deferred(Enum):
    """Why a batch decided nothing about an item."""

    LOCKED = "another transaction has locked its discussion, or the discussion is not known"
    ALONE = "it needs a transaction of its own"
    LATE = "nobody waits for it any more"


Outcome = CommandResult | Problem | Deferred


async def decide_early(tx: Transaction, item: Prepared) -> CommandResult | None:
    """Replay a used key, or refuse what would be refused anyhow, before a text is rendered; None decides nothing.

    Raises:
        Problem: `post-unknown`, `discussion-closed`, `invalid` naming `parent_id`, and those of the idempotency key.
    """
    if (kept := await idempotency.lock_and_find(tx, item.key)) is not None:
        return await replayed(tx, kept, item.caller)
    discussion = await discussion_rows.find_discussion(tx, item.post_id)
    if discussion is None:
        raise Problem("post-unknown")
    parent = next(iter(await _find_parents(tx, [item])), None)
    _accept(item, discussion, parent if parent and await can_see(tx, parent, item.caller) else None)
    return None


@dataclass(frozen=True)
class _Accepted:
    item: Prepared
    discussion: Discussion
    comment: Comment
    text_key: int
    result: CommandResult

    @property
    def twins_key(self) -> tuple[UUID, UUID, int]:
        """Author, place and text: equal for twins."""
        return self.item.author_id, self.item.parent_id or self.item.post_id, self.text_key


async def store_batch(tx: Transaction, prepared: Sequence[Prepared], lock: Lock) -> list[Outcome]:
    """Store the comments that may be stored, and return an outcome for each, in order.

    One that may wait for its lock also replays a used key, answers a twin with the first comment, and accepts a hidden
    parent. Among others, or before it has waited, such an item is deferred: it needs queries of its own, and showing a
    hidden parent changes comments above it that other items may change too.

    Args:
        lock: whether an item whose discussion another transaction has locked is deferred or waits for it.

    Raises:
        Problem: `unavailable`; for one that may wait also those of the idempotency key.
    """
    is_alone = lock == "wait" and len(prepared) == 1
    if is_alone and (kept := await idempotency.lock_and_find(tx, prepared[0].key)) is not None:
        return [await replayed(tx, kept, prepared[0].caller)]
    distinct = _with_distinct_keys(prepared)
    discussions, are_fresh = await posting_rows.lock(tx, [(item.post_id, item.key) for item in distinct], lock)
    fresh = [item for item, is_fresh in zip(distinct, are_fresh, strict=True) if is_fresh]
    parents = {parent.id: parent for parent in await _find_parents(tx, fresh)}
    outcomes: dict[UUID, Outcome] = {}
    accepted: dict[tuple[UUID, UUID, int], _Accepted] = {}
    for item in fresh:
        discussion = discussions.get(item.post_id)
        parent = parents.get(item.parent_id) if item.parent_id else None
        if discussion is None:
            outcomes[item.id] = Deferred.LOCKED if lock == "skip locked" else Problem("post-unknown")
        elif is_alone or parent is None or parent.shown:
            if parent is not None and not await can_see(tx, parent, item.caller):
                parent = None
            try:
                comment = _accept(item, discussion, parent)
            except Problem as refusal:
                outcomes[item.id] = refusal
            else:
                representation = rules.representation(comment, item.caller) | rules.of_discussion(discussion)
                result = CommandResult(201, representation, f"/v1/comments/{comment.id}")
                one = _Accepted(item, discussion, comment, rules.text_key(item.body), result)
                if accepted.setdefault(one.twins_key, one) is one:  # else its twin is in this batch
                    outcomes[item.id] = result
    twins = await _write(tx, list(accepted.values()), parents) if accepted else {}
    for comment_id, twin_id in twins.items():
        alone = is_alone and await twin(tx, twin_id, fresh[0].caller, fresh[0].key)
        outcomes[comment_id] = alone or Deferred.ALONE
    return [outcomes.get(item.id, Deferred.ALONE) for item in prepared]


def _with_distinct_keys(prepared: Sequence[Prepared]) -> list[Prepared]:
    """Return the items without a key, and those whose key stands in this batch once."""
    uses = Counter((item.key.person_id, item.key.key) for item in prepared if item.key)
    return [item for item in prepared if item.key is None or uses[item.key.person_id, item.key.key] == 1]


async def _find_parents(tx: Transaction, items: Sequence[Prepared]) -> list[Comment]:
    """Return the comments that are answered, as they are now that their discussions are locked."""
    ids = {item.parent_id for item in items if item.parent_id}
    return await comment_rows.find_many(tx, list(ids)) if ids else []


def _accept(item: Prepared, discussion: Discussion, parent: Comment | None) -> Comment:
    """Return the comment at its place, with its first state.

    Raises:
        Problem: `post-unknown`, `discussion-closed`, `invalid` naming `parent_id`.
    """
    if discussion.status != "published":
        raise Problem("post-unknown")
    state = rules.first_state(discussion, item.author_id, by_moderator=is_moderator(item.caller.roles))
    if item.parent_id and (parent is None or parent.post_id != item.post_id):
        raise invalid("parent_id", "is not a comment of this post that you can see")
    if parent is not None:
        rules.check_depth(parent, "parent_id")
    return new_comment(
        parent,
        id=item.id,
        post_id=item.post_id,
        author_id=item.author_id,
        body=item.body,
        format="markdown",
        body_html=item.body_html,
        state=state,
        created_at=item.created_at,
        answered_revision=rules.answered_revision(discussion, item.answered_revision),
    )


async def _write(tx: Transaction, accepted: Sequence[_Accepted], parents: dict[UUID, Comment]) -> dict[UUID, UUID]:
    """Write what was accepted, and return the twins of those that were there already, by id."""
    twins = await posting_rows.insert_new(
        tx,
        [one.comment for one in accepted],
        [one.text_key for one in accepted],
        RENDERER_VERSION,
        [outbox.new_row(rules.fact(CommentPosted, one.comment, one.discussion), one.item.context) for one in accepted],
        [
            idempotency.row(
                one.item.key, Kept(one.result.status, one.result.location, one.comment.id, one.result.representation)
            )
            for one in accepted
        ],
    )
    await count_replies(tx, [one.comment for one in accepted if one.comment.id not in twins], parents)
    return twins
