"""Posting: the one command that is hot enough to be stored together with others of its kind."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.chassis.database import idempotency
from services.chassis.database.idempotency import Key
from services.chassis.database.pool import Database, Transaction
from services.chassis.errors import Problem, invalid
from services.chassis.identity import Caller
from services.chassis.ids import moment_of, new_id
from services.chassis.messaging import outbox
from services.chassis.runtime import context
from services.chassis.runtime.context import Context
from services.chassis.text.renderer_pool import RENDERER_VERSION, render
from services.comments import store
from services.comments.commands.above import count_above
from services.comments.commands.answers import Done, keep, replayed
from services.comments.commands.finding import sees
from services.comments.domain import comment as rules
from services.comments.domain.comment import Comment, Discussion, placed
from services.contracts.comments import CommentPosted, CreateComment
from services.contracts.people import is_moderator


@dataclass(frozen=True)
class Prepared:
    """A comment before it has touched the database: everything that its storing does not decide.

    Attributes:
        context: of the request, for the event: whoever stores may be at work for several.
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


async def post_comment(
    db: Database,
    caller: Caller,
    post_id: UUID,
    command: CreateComment,
    key: Key | None = None,
    *,
    storing: Callable[[Prepared], Awaitable[Done]] | None = None,
) -> Done:
    """Comment on a post, or answer a comment of it.

    Args:
        storing: how the comment is stored; by default in a transaction of its own.

    Raises:
        Problem: `sign-in-required`, `post-unknown`, `discussion-closed`, `invalid` for the body or `parent_id`, and
            those of the idempotency key.
    """
    author_id = rules.require_person(caller)
    body_html = await render(command.body, "markdown")
    comment_id = new_id()
    prepared = Prepared(
        id=comment_id,
        post_id=post_id,
        parent_id=command.parent_id,
        caller=caller,
        author_id=author_id,
        body=command.body,
        body_html=body_html,
        created_at=moment_of(comment_id),
        key=key,
        context=context.current(),
    )
    return await (storing(prepared) if storing else store_alone(db, prepared))


async def store_alone(db: Database, new: Prepared) -> Done:
    """Store one prepared comment in a transaction of its own."""
    async with db.transaction() as tx:
        if (kept := await idempotency.replay(tx, new.key)) is not None:
            return await replayed(tx, kept, new.caller)
        discussion = await store.lock_discussion(tx, new.post_id)
        if discussion is None:
            raise Problem("post-unknown")
        state = first_state(discussion, new)
        parent = await _parent(tx, new)
        comment = completed(new, state, parent)
        await store.insert(tx, comment, RENDERER_VERSION)
        await count_above(tx, comment, parent)
        await outbox.add(tx, rules.fact(CommentPosted, comment, discussion))
        done = posted(comment, new.caller)
        await keep(tx, new.key, done, comment.id)
        return done


def first_state(discussion: Discussion, new: Prepared) -> rules.State:
    """The state in which it begins.

    Raises:
        Problem: `post-unknown`, `discussion-closed`.
    """
    if discussion.status != "published":
        raise Problem("post-unknown")
    return rules.first_state(discussion, new.author_id, is_moderator=is_moderator(new.caller.roles))


def completed(new: Prepared, state: rules.State, parent: Comment | None) -> Comment:
    """The comment at its place."""
    return placed(
        parent,
        id=new.id,
        post_id=new.post_id,
        author_id=new.author_id,
        body=new.body,
        format="markdown",
        body_html=new.body_html,
        state=state,
        created_at=new.created_at,
    )


def posted(comment: Comment, caller: Caller) -> Done:
    return Done(201, rules.representation(comment, caller), f"/v1/comments/{comment.id}")


async def _parent(tx: Transaction, new: Prepared) -> Comment | None:
    """The comment that is answered.

    Raises:
        Problem: `invalid` naming `parent_id`.
    """
    if new.parent_id is None:
        return None
    parent = await store.find(tx, new.parent_id)
    if parent is None or not (parent.post_id == new.post_id and await sees(tx, parent, new.caller)):
        raise not_a_parent()
    return answerable(parent)


def not_a_parent() -> Problem:
    return invalid("parent_id", "is not a comment of this post that you can see")


def answerable(parent: Comment) -> Comment:
    """The parent, if it does not stand too deep for replies.

    Raises:
        Problem: `invalid` naming `parent_id`.
    """
    if parent.depth >= rules.DEEPEST:
        raise invalid("parent_id", f"stands at depth {rules.DEEPEST}, below which there are no replies")
    return parent
