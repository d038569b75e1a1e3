"""Blanking of revisions: a former text is taken away for good, and that there was one stays."""

from uuid import UUID

from services.chassis.database import idempotency
from services.chassis.database.idempotency import CommandResult, Kept, Key
from services.chassis.database.pool import Database, Transaction
from services.chassis.errors import Problem, not_found
from services.chassis.identity import Caller
from services.chassis.messaging import outbox
from services.contracts.posts import PostRevisionBlanked
from services.posts import revision_rows, store
from services.posts.domain import post as rules

TEXTS = ["title", "body", "body_html", "excerpt", "edit_note"]


async def blank_revision(
    db: Database, caller: Caller, post_id: UUID, number: int, key: Key | None = None
) -> CommandResult:
    """Take away the text of a revision, its title and its note; a second time changes nothing.

    Its author may do so without the role of an author, too: it is their own word that they take back.

    Raises:
        Problem: `sign-in-required`, `not-found`, `forbidden`, `wrong-state` for the present text, and those of the
            idempotency key.
    """
    caller.require_person()
    async with db.transaction() as tx:
        if (kept := await idempotency.lock_and_find(tx, key)) is not None:
            return CommandResult(kept.status, replayed=True)
        post = await store.lock(tx, post_id)
        found = await revision_rows.find(tx, post_id, number)
        if post is None or found is None or not rules.is_visible(post, caller):
            raise not_found()
        if not rules.may_blank(post, caller):
            raise Problem("forbidden", "Only its author and admins may blank a revision of a post.")
        if number == post.revision:
            raise Problem("wrong-state", "This is the present text. Change it, then blank what it was.")
        if found["body"] is not None:
            text_id = rules.id_of_text(post_id, number, found["text_id"])
            await blank(tx, post_id, number)
            await outbox.add(
                tx, PostRevisionBlanked(post_id=post_id, text_id=text_id, revision=number, occurred_at=rules.now())
            )
        await idempotency.keep(tx, key, Kept(204, None, post_id, None))
        return CommandResult(204)


async def blank(tx: Transaction, post_id: UUID, number: int) -> None:
    """Take away what a revision says, also where answers to repeated requests have it."""
    await revision_rows.blank(tx, post_id, number)
    await idempotency.blank(tx, post_id, TEXTS, {"revision": number})
