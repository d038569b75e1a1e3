"""Commands of posts: one function, one transaction, at most one event."""

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from services.chassis.database import idempotency
from services.chassis.database.idempotency import CommandResult, Kept, Key
from services.chassis.database.pool import Database, Transaction
from services.chassis.errors import invalid
from services.chassis.http.requests import check_if_match
from services.chassis.identity import Caller
from services.chassis.ids import id_at, new_id
from services.chassis.messaging import outbox
from services.chassis.text.html_to_text import excerpt
from services.chassis.text.renderer import RENDERER_VERSION, render
from services.contracts.old_addresses import normal_address
from services.contracts.people import is_author
from services.contracts.posts import (
    CreatePost,
    EditPost,
    ImportPost,
    PostDrafted,
    PostEdited,
    PostFact,
    PostImported,
    PostPublished,
    PostWithdrawn,
)
from services.posts import old_addresses, store
from services.posts.domain import post as rules
from services.posts.domain import slugs
from services.posts.domain.post import Post, Text

EXCERPT = 200
LONGEST_SOURCE = 2000  # bytes; an index entry of PostgreSQL holds at most 2,704


async def create_post(db: Database, caller: Caller, command: CreatePost, key: Key | None = None) -> CommandResult:
    """Create a post, published at once if the command says so.

    Raises:
        Problem: `sign-in-required`, `forbidden`, `invalid` for the slug or the body, and those of the idempotency key.
    """
    person_id = caller.require_person()
    post_id = new_id()
    html = (
        await render(command.body, "markdown", "post", anchor=str(post_id), owner=person_id)
        if is_author(caller.roles)
        else ""
    )
    at = rules.now()
    post = Post(
        id=post_id,
        kind="post",
        slug="",
        title=command.title,
        body=command.body,
        format="markdown",
        body_html=html,
        excerpt=excerpt(html, EXCERPT),
        author_id=person_id,
        status="published" if command.publish else "draft",
        discussion=command.discussion,
        created_at=at,
        published_at=at if command.publish else None,
    )
    async with db.transaction() as tx:
        if (kept := await idempotency.lock_and_find(tx, key)) is not None:
            return await _replayed(tx, kept)
        rules.require_author(caller)
        if command.slug is not None:
            post = replace(post, slug=slugs.validated(command.slug))
            if not await store.insert(tx, post, RENDERER_VERSION):
                raise slugs.taken()
        else:
            post = await _insert_under_free_slug(tx, post, slugs.generated(post.id, post.title))
        await store.insert_revision(tx, post, None, at)
        return await _finish(tx, post, PostPublished if command.publish else PostDrafted, at, key, status=201)


async def _insert_under_free_slug(
    tx: Transaction, post: Post, slug: str, source: tuple[str, str] | None = None
) -> Post:
    """Insert a post under the first free slug of `slug`, `slug-2`, `slug-3` …, and return it with that slug.

    A slug that a concurrent transaction takes first is skipped. If a post of the same source exists, insert nothing
    and return the post with the existing id.
    """
    for batch in slugs.alternatives(slug):
        taken = await store.existing_slugs(tx, batch)
        for candidate in batch:
            if candidate in taken:
                continue
            named = replace(post, slug=candidate)
            if await store.insert(tx, named, RENDERER_VERSION, source):
                return named
            if source is not None and (known := await store.find_by_source(tx, source)) is not None:
                return replace(post, id=known)
    raise AssertionError("the alternatives of a slug have no end")


async def edit_post(
    db: Database, caller: Caller, post_id: UUID, command: EditPost, key: Key | None = None, if_match: str | None = None
) -> CommandResult:
    """Edit the text or the discussion setting of a post. A changed text becomes a new revision.

    Raises:
        Problem: `sign-in-required`, `not-found`, `forbidden`, `stale`, `invalid` for the body or for a note without a
            changed text, and those of the idempotency key.
    """
    caller.require_person()
    text = await _render_body(db, caller, post_id, command.body)
    at = rules.now()
    async with db.transaction() as tx:
        if (kept := await idempotency.lock_and_find(tx, key)) is not None:
            return await _replayed(tx, kept)
        before = rules.require_changeable(await store.lock(tx, post_id), caller)
        check_if_match(if_match, before.version)
        post = rules.edited(
            before, title=command.title, text=text, note=command.edit_note, discussion=command.discussion, at=at
        )
        if post is not before:
            await store.update(tx, post, RENDERER_VERSION if post.body != before.body else None)
        if post.revision != before.revision:
            await store.insert_revision(tx, post, command.edit_note, at)
        return await _finish(tx, post, None if post is before else PostEdited, at, key)


async def _render_body(db: Database, caller: Caller, post_id: UUID, body: str | None) -> Text | None:
    """Render the new body in the format of the post, before the transaction. A body imported as HTML stays HTML."""
    if body is None:
        return None
    async with db.reader() as reader:
        post = await store.find(reader, post_id)
    if post is None or not rules.may_change(post, caller):
        return Text(body, "", "")  # the transaction refuses or replays, so this is never stored
    html = await render(body, post.format, "post", anchor=str(post_id), owner=caller.person_id)
    return Text(body, html, excerpt(html, EXCERPT))


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


async def import_post(db: Database, command: ImportPost) -> tuple[UUID, bool]:
    """Import a post of another system with its dates, state and former addresses. Never causes a mail.

    Returns:
        The post's id, and whether the post was created now. A second import of the same source, concurrent ones too,
        finds the first, and adds addresses that it did not have.

    Raises:
        Problem: `invalid` for a source or a date that cannot be stored, and for a body that cannot be rendered.
    """
    source = (command.site, command.source_id)
    if len("".join(source).encode()) > LONGEST_SOURCE:
        raise invalid("source_id", "is too long together with site")
    created_at = _storable_time("created_at", command.created_at)
    published_at = _storable_time("published_at", command.published_at or command.created_at)
    addresses = sorted({normal for address in command.addresses if (normal := normal_address(address)) is not None})
    async with db.reader() as reader:
        known = await store.find_by_source(reader, source)
    if known is not None:
        async with db.transaction() as tx:
            await old_addresses.insert(tx, known, addresses)
        return known, False
    post_id = id_at(created_at, command.source_id) if created_at.year >= 1970 else new_id()
    html = await render(command.body, command.format, "post", anchor=str(post_id), may_be_empty=True)
    summary = await render(command.excerpt, "html", "post", may_be_empty=True) if command.excerpt else html
    post = Post(
        id=post_id,
        kind=command.kind,
        slug="",
        title=command.title,
        body=command.body,
        format=command.format,
        body_html=html,
        excerpt=excerpt(summary, EXCERPT),
        author_id=command.author_id,
        status=command.status,
        discussion=command.discussion,
        created_at=created_at,
        published_at=published_at if command.status == "published" else None,
        imported=True,
    )
    slug = slugs.generated(post.id, slugs.decoded(command.slug), post.title)
    async with db.transaction() as tx:
        stored = await _insert_under_free_slug(tx, post, slug, source)
        await old_addresses.insert(tx, stored.id, addresses)
        if stored.id != post.id:
            return stored.id, False
        await store.insert_revision(tx, stored, None, created_at)
        await outbox.add(tx, rules.fact(PostImported, stored, rules.now()))
    return stored.id, True


def _storable_time(field: str, moment: datetime) -> datetime:
    """Return an imported time in UTC, in the precision that is shown.

    Raises:
        Problem: `invalid` outside the years that both PostgreSQL and ISO 8601 can represent in every time zone.
    """
    if not 2 <= moment.year <= 9998:
        raise invalid(field, "must be between the years 2 and 9998")
    return rules.to_millisecond(moment)


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
    version = await store.version_of(tx, kept.subject)
    return CommandResult(kept.status, kept.representation | {"version": version}, kept.location, replayed=True)
