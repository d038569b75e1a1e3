"""Deletion of drafts. What was public once is withdrawn instead: others have read and answered it."""

from dataclasses import replace
from uuid import UUID

from services.chassis.database import idempotency
from services.chassis.database.idempotency import CommandResult, Kept, Key
from services.chassis.database.pool import Database, Transaction
from services.chassis.errors import Problem
from services.chassis.http.requests import check_if_match
from services.chassis.identity import Caller
from services.chassis.messaging import outbox
from services.contracts.posts import PostDeleted
from services.posts import image_rows, store
from services.posts.domain import post as rules
from services.posts.domain.post import Post

TEXTS = ["title", "body", "body_html", "excerpt"]


async def delete_draft(
    db: Database, caller: Caller, post_id: UUID, key: Key | None = None, if_match: str | None = None
) -> CommandResult:
    """Delete a draft with its revisions.

    Raises:
        Problem: `sign-in-required`, `not-found`, `forbidden`, `wrong-state` for what was published or is scheduled,
            `stale`, and those of the idempotency key.
    """
    caller.require_person()
    async with db.transaction() as tx:
        if (kept := await idempotency.lock_and_find(tx, key)) is not None:
            return CommandResult(kept.status, replayed=True)
        post = rules.require_changeable(await store.lock(tx, post_id), caller)
        if post.status != "draft":
            raise Problem("wrong-state", "Only a draft can be deleted; withdraw what was published.")
        if post.is_scheduled:
            raise Problem("wrong-state", "It is scheduled: take its time back first.")
        check_if_match(if_match, post.version, post.epoch)
        await delete(tx, post)
        await idempotency.keep(tx, key, Kept(204, None, post_id, None))
        return CommandResult(204)


async def delete(tx: Transaction, post: Post) -> None:
    """Delete a draft whose row this transaction has locked, also where answers to repeated requests have it."""
    if post.cover is not None:
        await image_rows.release(tx, post.cover)
    await store.delete(tx, post.id)
    await idempotency.blank(tx, post.id, TEXTS)
    await outbox.add(tx, rules.fact(PostDeleted, replace(post, version=post.version + 1), rules.now()))
