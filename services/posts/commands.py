"""Commands of posts: one function, one transaction, at most one event."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from services.chassis.database import idempotency
from services.chassis.database.idempotency import CommandResult, Kept, Key
from services.chassis.database.pool import Database, Transaction
from services.chassis.errors import invalid
from services.chassis.http.requests import check_if_match
from services.chassis.identity import Caller
from services.chassis.ids import new_id
from services.chassis.messaging import outbox
from services.chassis.messaging.epochs import find_epoch
from services.chassis.text.renderer import RENDERER_VERSION, render
from services.contracts.posts import (
    CreatePost,
    EditPost,
    PostDrafted,
    PostEdited,
    PostFact,
    PostPublished,
    PostWithdrawn,
)
from services.contracts.tags import without_doubles
from services.posts import former_slugs, free_slugs, image_rows, revision_rows, schedule_rows, store, tag_rows
from services.posts.domain import post as rules
from services.posts.domain import scheduling, slugs
from services.posts.domain.post import Post, Text


async def create_post(db: Database, caller: Caller, command: CreatePost, key: Key | None = None) -> CommandResult:
    """Create a post, published at once if the command says so.

    What would be refused or replayed is found before the text is rendered, which may be costly, and again when the post
    is stored.

    Raises:
        Problem: `sign-in-required`, `forbidden`, `invalid` for the slug, the cover, the time of publication or the
            body, and those of the idempotency key.
    """
    person_id = caller.require_person()
    async with db.transaction() as tx:
        if (kept := await idempotency.lock_and_find(tx, key)) is not None:
            return await _replayed(tx, kept)
        rules.require_author(caller)
        publish_at = _time_of(command)
        if command.slug is not None and await former_slugs.taken(tx, [slugs.validated(command.slug)]):
            raise slugs.taken()
    post_id = new_id()
    html = await render(command.body, "markdown", "post", anchor=str(post_id), owner=person_id)
    text = Text.of(command.body, html)
    at = rules.now()
    post = Post(
        id=post_id,
        kind=command.kind,
        slug="",
        title=command.title,
        body=text.body,
        format="markdown",
        body_html=text.body_html,
        excerpt=command.excerpt or text.excerpt,
        author_id=person_id,
        status="published" if command.publish else "draft",
        discussion=command.discussion,
        created_at=at,
        published_at=at if command.publish else None,
        cover=command.cover,
        has_own_excerpt=command.excerpt is not None,
        word_count=text.word_count,
        publish_at=publish_at,
    )
    async with db.transaction() as tx:
        if (kept := await idempotency.lock_and_find(tx, key)) is not None:
            return await _replayed(tx, kept)
        await _hold_images(tx, None, post, person_id)
        tags = await tag_rows.spelt(tx, without_doubles(command.tags))
        post = replace(post, epoch=await find_epoch(tx), tags=tags)
        if command.slug is not None:
            post = await free_slugs.insert_post_as(tx, post, command.slug)
        else:
            post = await free_slugs.insert_post(tx, post, slugs.generated(post.id, post.title))
        await tag_rows.replace_all(tx, post)
        if post.publish_at is not None:
            await schedule_rows.set_time(tx, post, person_id)
        await revision_rows.insert(tx, post, None, at)
        return await _finish(tx, post, PostPublished if command.publish else PostDrafted, at, key, status=201)


def _time_of(command: CreatePost) -> datetime | None:
    if command.publish_at is None:
        return None
    if command.publish:
        raise invalid("publish_at", "must not come with publish")
    return scheduling.time_ahead(command.publish_at, rules.now())


async def edit_post(
    db: Database, caller: Caller, post_id: UUID, command: EditPost, key: Key | None = None, if_match: str | None = None
) -> CommandResult:
    """Edit a post. A changed text becomes a new revision once it was published; what else changes does not.

    With a body it is looked at twice, as in `create_post`. A body that was imported as HTML stays HTML.

    Raises:
        Problem: `sign-in-required`, `not-found`, `forbidden`, `stale`, `wrong-state` for the time of a post that was
            published before, `invalid` for the body, the cover, the time, a slug that is none or is taken, or a note
            without a changed text, and those of the idempotency key.
    """
    person_id = caller.require_person()
    text = None
    if command.body is not None:
        async with db.transaction() as tx:
            if (kept := await idempotency.lock_and_find(tx, key)) is not None:
                return await _replayed(tx, kept)
            before = rules.require_changeable(await store.find(tx, post_id), caller)
            _edited(before, command, Text(command.body, "", ""), before.tags, if_match, rules.now())
        html = await render(command.body, before.format, "post", anchor=str(post_id), owner=person_id)
        text = Text.of(command.body, html)
    at = rules.now()
    async with db.transaction() as tx:
        if (kept := await idempotency.lock_and_find(tx, key)) is not None:
            return await _replayed(tx, kept)
        before = rules.require_changeable(await store.lock(tx, post_id), caller)
        tags = before.tags if command.tags is None else await tag_rows.spelt(tx, without_doubles(command.tags))
        post = _edited(before, command, text, tags, if_match, at)
        if post is not before:
            await _hold_images(tx, before, post, person_id)
            await free_slugs.update_post(tx, before, post, RENDERER_VERSION if post.body != before.body else None)
        if post.publish_at != before.publish_at:
            await schedule_rows.set_time(tx, post, person_id)
        if post.tags != before.tags:
            await tag_rows.replace_all(tx, post)
        if post.revision != before.revision:
            await revision_rows.insert(tx, post, command.edit_note, at)
        elif post.text_id != before.text_id:
            await image_rows.release_shown(tx, before.body)
            await revision_rows.replace_text(tx, post, at)
        return await _finish(tx, post, None if post is before else PostEdited, at, key)


def _edited(
    before: Post, command: EditPost, text: Text | None, tags: Sequence[str], if_match: str | None, at: datetime
) -> Post:
    """Return the post as the command changes it; the same object when nothing changes.

    Raises:
        Problem: `stale`, `wrong-state` or `invalid` for the time of publication, `invalid` for a note without a changed
            text and for what is no slug.
    """
    check_if_match(if_match, before.version, before.epoch)
    post = rules.edited(
        before, title=command.title, text=text, note=command.edit_note, discussion=command.discussion, at=at
    )
    if "cover" in command.model_fields_set:
        post = replace(post, cover=command.cover)
    if "excerpt" in command.model_fields_set:
        post = rules.with_excerpt(post, command.excerpt)
    if "publish_at" in command.model_fields_set:
        post = scheduling.scheduled(post, command.publish_at, at)
    if command.slug is not None:
        post = replace(post, slug=slugs.validated(command.slug))
    post = replace(post, tags=tags, version=before.version)
    return before if post == before else replace(post, version=before.version + 1)


async def _hold_images(tx: Transaction, before: Post | None, post: Post, person_id: UUID) -> None:
    """Keep what the post shows until the transaction ends, and give back the cover that it had.

    Raises:
        Problem: `invalid` for a new cover that is no picture of the caller or of the post's author.
    """
    former = before.cover if before else None
    if post.cover != former:
        if post.cover is not None and not await image_rows.hold_cover(tx, post.cover, (person_id, post.author_id)):
            raise invalid("cover", "is no picture of yours")
        if former is not None:
            await image_rows.release(tx, former)
    await image_rows.hold_shown(tx, post.body)


async def publish_post(db: Database, caller: Caller, post_id: UUID, key: Key | None = None) -> CommandResult:
    """Publish a draft or a withdrawn post; a published post stays as it is.

    Raises:
        Problem: `sign-in-required`, `not-found`, `forbidden`, and those of the idempotency key.
    """
    caller.require_person()
    at = rules.now()
    async with db.transaction() as tx:
        if (kept := await idempotency.lock_and_find(tx, key)) is not None:
            return await _replayed(tx, kept)
        before = rules.require_changeable(await store.lock(tx, post_id), caller)
        post = rules.published(before, at)
        if post is not before:
            await store.update(tx, post)
        if post.publish_at != before.publish_at:
            await schedule_rows.set_time(tx, post)
        return await _finish(tx, post, None if post is before else PostPublished, at, key)


async def withdraw_post(db: Database, caller: Caller, post_id: UUID, key: Key | None = None) -> CommandResult:
    """Withdraw a published post, so that only its author and admins see it; a withdrawn post stays as it is.

    Raises:
        Problem: `sign-in-required`, `not-found`, `forbidden`, `wrong-state` for a draft, and those of the
            idempotency key.
    """
    caller.require_person()
    at = rules.now()
    async with db.transaction() as tx:
        if (kept := await idempotency.lock_and_find(tx, key)) is not None:
            return await _replayed(tx, kept)
        before = rules.require_changeable(await store.lock(tx, post_id), caller)
        post = rules.withdrawn(before)
        if post is not before:
            await store.update(tx, post)
        return await _finish(tx, post, None if post is before else PostWithdrawn, at, key)


async def _finish(
    tx: Transaction, post: Post, kind: type[PostFact] | None, at: datetime, key: Key | None, *, status: int = 200
) -> CommandResult:
    """Publish the event, if there is one, store the result under the idempotency key, and return it."""
    if kind is not None:
        await outbox.add(tx, rules.fact(kind, post, at))
    result = CommandResult(status, rules.representation(post), f"/v1/posts/{post.id}" if status == 201 else None)
    await idempotency.keep(tx, key, Kept(result.status, result.location, post.id, result.representation))
    return result


async def _replayed(tx: Transaction, kept: Kept) -> CommandResult:
    """Return the stored result of the first request, with the present version, which becomes the ETag."""
    assert kept.representation is not None and kept.subject is not None
    present = await store.version_of(tx, kept.subject)
    return CommandResult(kept.status, kept.representation | present, kept.location, replayed=True)
