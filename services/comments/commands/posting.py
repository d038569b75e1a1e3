"""Posting: the one command that is hot enough to be grouped some day."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.chassis import idempotency, outbox
from services.chassis.database import Database, Transaction
from services.chassis.errors import Problem, invalid
from services.chassis.idempotency import Key
from services.chassis.identity import Caller
from services.chassis.ids import moment_of, new_id
from services.chassis.richtext import RENDERER_VERSION, render
from services.comments import store
from services.comments.commands.above import count_above
from services.comments.commands.answers import Done, keep, replayed
from services.comments.commands.finding import sees
from services.comments.domain import comment as rules
from services.comments.domain.comment import Comment, placed
from services.contracts.comments import CommentPosted, CreateComment


@dataclass(frozen=True)
class Prepared:
    """A comment before it has touched the database: everything that its storing does not decide."""

    id: UUID
    post_id: UUID
    parent_id: UUID | None
    caller: Caller
    author_id: UUID
    body: str
    body_html: str
    created_at: datetime
    key: Key | None


async def post_comment(
    db: Database, caller: Caller, post_id: UUID, command: CreateComment, key: Key | None = None
) -> Done:
    """Comment on a post, or answer a comment of it.

    Raises:
        Problem: `sign-in-required`, `post-unknown`, `discussion-closed`, `invalid` for the body or `parent_id`, and
            those of the idempotency key.
    """
    author_id = rules.require_person(caller)
    comment_id = new_id()
    prepared = Prepared(
        id=comment_id,
        post_id=post_id,
        parent_id=command.parent_id,
        caller=caller,
        author_id=author_id,
        body=command.body,
        body_html=await render(command.body, "markdown"),
        created_at=moment_of(comment_id),
        key=key,
    )
    return await _store(db, prepared)


async def _store(db: Database, new: Prepared) -> Done:
    """Store one prepared comment. Storing many at once would change this function alone."""
    async with db.transaction() as tx:
        if (kept := await idempotency.replay(tx, new.key)) is not None:
            return await replayed(tx, kept, new.caller)
        discussion = await store.lock_discussion(tx, new.post_id)
        if discussion is None or discussion.status != "published":
            raise Problem("post-unknown")
        state = rules.first_state(discussion, new.author_id, is_moderator=new.caller.is_moderator)
        parent = await _parent(tx, new)
        comment = placed(
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
        await store.insert(tx, comment, RENDERER_VERSION)
        await count_above(tx, comment, parent)
        await outbox.add(tx, rules.fact(CommentPosted, comment, discussion))
        done = Done(201, rules.representation(comment, new.caller), f"/v1/comments/{comment.id}")
        await keep(tx, new.key, done, comment.id)
        return done


async def _parent(tx: Transaction, new: Prepared) -> Comment | None:
    """The comment that is answered.

    Raises:
        Problem: `invalid` naming `parent_id`.
    """
    if new.parent_id is None:
        return None
    parent = await store.find(tx, new.parent_id)
    if parent is None or parent.post_id != new.post_id or not await sees(tx, parent, new.caller):
        raise invalid("parent_id", "is not a comment of this post that you can see")
    if parent.depth >= rules.DEEPEST:
        raise invalid("parent_id", f"stands at depth {rules.DEEPEST}, below which there are no replies")
    return parent
