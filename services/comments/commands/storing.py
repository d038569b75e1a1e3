"""Storing prepared comments: the rules, once for one comment as for many that share a transaction."""

from collections import Counter
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from uuid import UUID

from services.chassis.database import idempotency
from services.chassis.database.idempotency import CommandResult, Kept, Key
from services.chassis.database.pool import Database, Reader, Transaction
from services.chassis.errors import Problem, invalid, unavailable
from services.chassis.identity import Caller
from services.chassis.messaging import outbox
from services.chassis.runtime.context import Context
from services.chassis.text.renderer import RENDERER_VERSION
from services.comments.commands.reply_counts import count_replies
from services.comments.commands.results import replayed, twin
from services.comments.domain import comment as rules
from services.comments.domain.comment import Comment, Discussion, new_comment
from services.comments.domain.tree import changes_above
from services.comments.store import comment_rows, discussion_rows, posting_rows
from services.comments.store.posting_rows import New, NotWritten
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

    LOCKED = "another transaction has locked its discussion, or has changed it or the parent"
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
    _accept(item, discussion, await _visible_parent(tx, item))
    return None


@dataclass(frozen=True)
class _Accepted:
    item: Prepared
    discussion: Discussion
    parent: Comment | None
    comment: Comment
    text_key: int
    result: CommandResult

    @property
    def twins_key(self) -> tuple[UUID, UUID, int]:
        """Author, place and text: equal for twins."""
        return self.item.author_id, self.item.parent_id or self.item.post_id, self.text_key


async def store_at_once(
    db: Database, prepared: Sequence[Prepared], known: MutableMapping[UUID, Discussion]
) -> list[Outcome]:
    """Store the comments that nothing stands in the way of, and return an outcome for each, in order.

    One statement writes them, if what was decided about them still holds then. So nothing is locked beforehand, and
    what is known of discussions may be old. For the same reason nothing is refused.

    Args:
        known: discussions as they were read lately.

    Raises:
        Problem: `unavailable`.
    """
    items = _with_distinct_keys(prepared)
    unknown = {item.post_id for item in items if item.post_id not in known}
    parents: dict[UUID, Comment] = {}
    if unknown or any(item.parent_id for item in items):
        async with db.reader() as reader:
            if unknown:
                known.update(await discussion_rows.find_discussions(reader, list(unknown)))
            parents = await _find_parents(reader, items)
    accepted = _acceptable(items, known, parents)
    outcomes: dict[UUID, Outcome] = {}
    if accepted:
        async with db.statement() as tx:
            outcomes = await _write_acceptable(tx, accepted)
    for item in prepared:
        if not isinstance(outcomes.get(item.id), CommandResult):
            known.pop(item.post_id, None)
    return [outcomes.get(item.id, Deferred.ALONE) for item in prepared]


async def store_locked(tx: Transaction, prepared: Sequence[Prepared]) -> list[Outcome]:
    """Wait for the locks of discussions, store what may be stored, and return an outcome for each comment, in order.

    Raises:
        Problem: `unavailable`.
    """
    items = _with_distinct_keys(prepared)
    discussions = await discussion_rows.lock_discussions(tx, {item.post_id for item in items})
    accepted = _acceptable(items, discussions, await _find_parents(tx, items))
    outcomes = await _write_acceptable(tx, accepted) if accepted else {}
    return [outcomes.get(item.id, Deferred.ALONE) for item in prepared]


async def store_alone(tx: Transaction, item: Prepared) -> CommandResult:
    """Store one comment, or replay a used key, or answer a twin with the first comment. Its parent may be hidden.

    All that needs queries of its own, and showing a hidden parent, which changes comments above it that others may
    change too.

    Raises:
        Problem: `post-unknown`, `discussion-closed`, `invalid` naming `parent_id`, `unavailable`, and those of the
            idempotency key.
    """
    if (kept := await idempotency.lock_and_find(tx, item.key)) is not None:
        return await replayed(tx, kept, item.caller)
    discussion = await discussion_rows.lock_discussion(tx, item.post_id)
    if discussion is None:
        raise Problem("post-unknown")
    one = _accepted(item, discussion, await _visible_parent(tx, item))
    not_written = (await _write(tx, [one])).get(item.id)
    if not_written is None:
        if one.parent is not None and not one.parent.shown:
            await count_replies(tx, [one.comment], {one.parent.id: one.parent})
        return one.result
    if not_written.twin_id is None:  # the discussion and the key are locked, but the epoch is not
        raise unavailable("The service is being restored; it was not stored.")
    return await twin(tx, not_written.twin_id, item.caller, item.key)


def _with_distinct_keys(prepared: Sequence[Prepared]) -> list[Prepared]:
    """Return the items without a key, and those whose key stands in this batch once."""
    uses = Counter((item.key.person_id, item.key.key) for item in prepared if item.key)
    return [item for item in prepared if item.key is None or uses[item.key.person_id, item.key.key] == 1]


async def _find_parents(reader: Reader, items: Sequence[Prepared]) -> dict[UUID, Comment]:
    ids = {item.parent_id for item in items if item.parent_id}
    return {parent.id: parent for parent in await comment_rows.find_many(reader, list(ids))} if ids else {}


async def _visible_parent(reader: Reader, item: Prepared) -> Comment | None:
    """Return the comment that is answered, if its author sees it."""
    parent = next(iter((await _find_parents(reader, [item])).values()), None)
    return parent if parent is not None and await can_see(reader, parent, item.caller) else None


def _acceptable(
    items: Sequence[Prepared], discussions: Mapping[UUID, Discussion], parents: Mapping[UUID, Comment]
) -> list[_Accepted]:
    """Return what needs nothing but to be stored, of twins the first."""
    accepted: dict[tuple[UUID, UUID, int], _Accepted] = {}
    for item in items:
        discussion, parent = discussions.get(item.post_id), parents.get(item.parent_id) if item.parent_id else None
        if discussion is not None and (parent is None or parent.shown):
            with suppress(Problem):  # refused where it is decided alone, because a used key comes first
                one = _accepted(item, discussion, parent)
                accepted.setdefault(one.twins_key, one)
    return list(accepted.values())


def _accepted(item: Prepared, discussion: Discussion, parent: Comment | None) -> _Accepted:
    """Return what is stored for the comment, and its result.

    Args:
        parent: the comment that is answered, if its author sees it.

    Raises:
        Problem: as `_accept`.
    """
    comment = _accept(item, discussion, parent)
    representation = rules.representation(comment, item.caller) | rules.of_discussion(discussion)
    result = CommandResult(201, representation, f"/v1/comments/{comment.id}")
    return _Accepted(item, discussion, parent, comment, rules.text_key(item.body), result)


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


async def _write_acceptable(tx: Transaction, accepted: Sequence[_Accepted]) -> dict[UUID, Outcome]:
    outcomes: dict[UUID, Outcome] = {one.comment.id: one.result for one in accepted}
    for comment_id, reason in (await _write(tx, accepted)).items():
        outcomes[comment_id] = Deferred.ALONE if reason.is_current else Deferred.LOCKED
    return outcomes


async def _write(tx: Transaction, accepted: Sequence[_Accepted]) -> dict[UUID, NotWritten]:
    """Write what was accepted; return by id what was not written, because something has changed or it has a twin."""
    discussions = {one.discussion.post_id: one.discussion for one in accepted}
    return await posting_rows.insert_if_current(
        tx, discussions.values(), [_new(one) for one in accepted], RENDERER_VERSION
    )


def _new(one: _Accepted) -> New:
    comment, parent, result = one.comment, one.parent, one.result
    shown = int(comment.shown)  # a new comment has no replies, so it is shown exactly if it is visible
    return New(
        comment,
        one.text_key,
        event=outbox.new_row(rules.fact(CommentPosted, comment, one.discussion), one.item.context),
        answer=idempotency.row(one.item.key, Kept(result.status, result.location, comment.id, result.representation)),
        change=changes_above([parent], added=1, visible=shown, shown=shown)[0] if parent and parent.shown else None,
    )
