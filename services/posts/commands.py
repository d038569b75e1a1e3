"""Commands of posts: one function, one transaction, one event."""

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
from services.chassis.text.renderer_pool import RENDERER_VERSION, render
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
from services.posts import store
from services.posts.domain import post as rules
from services.posts.domain import slugs
from services.posts.domain.post import Post, Text

EXCERPT = 200
LONGEST_SOURCE = 2000  # bytes; what an index entry of PostgreSQL surely holds


async def create_post(db: Database, caller: Caller, command: CreatePost, key: Key | None = None) -> CommandResult:
    """Write a post, published at once if the command says so.

    Raises:
        Problem: `sign-in-required`, `forbidden`, `invalid` for the slug, and those of the idempotency key.
    """
    person_id = caller.require_person()
    html = await render(command.body, "markdown") if is_author(caller.roles) else ""
    at = rules.now()
    post = Post(
        id=new_id(),
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
        if (kept := await idempotency.replay(tx, key)) is not None:
            return await _replayed(tx, kept)
        rules.require_author(caller)
        if command.slug is not None:
            post = replace(post, slug=slugs.given(command.slug))
            if not await store.insert(tx, post, RENDERER_VERSION):
                raise slugs.taken()
        else:
            post = await _insert_under_free_slug(tx, post, slugs.made(post.id, post.title))
        await store.insert_revision(tx, post, None, at)
        return await _done(tx, post, PostPublished if command.publish else PostDrafted, at, key, status=201)


async def _insert_under_free_slug(
    tx: Transaction, post: Post, slug: str, source: tuple[str, str] | None = None
) -> Post:
    """Insert with the first of `slug`, `slug-2`, `slug-3` … that is free; a slug lost to somebody else is passed over.

    With a source that is there already nothing is inserted and the id of the post of that source comes back.
    """
    for batch in slugs.alternatives(slug):
        taken = await store.taken(tx, batch)
        for candidate in batch:
            if candidate in taken:
                continue
            named = replace(post, slug=candidate)
            if await store.insert(tx, named, RENDERER_VERSION, source):
                return named
            if source is not None and (known := await store.find_by_source(tx, source)) is not None:
                return replace(post, id=known)
    raise AssertionError("there is always another number")


async def edit_post(
    db: Database, caller: Caller, post_id: UUID, command: EditPost, key: Key | None = None, if_match: str | None = None
) -> CommandResult:
    """Change text or discussion. A changed text becomes a new revision.

    Raises:
        Problem: `sign-in-required`, `not-found`, `forbidden`, `stale`, `invalid` for a note without a changed text, and
            those of the idempotency key.
    """
    caller.require_person()
    text = await _text(db, caller, post_id, command.body)
    at = rules.now()
    async with db.transaction() as tx:
        if (kept := await idempotency.replay(tx, key)) is not None:
            return await _replayed(tx, kept)
        before = rules.to_change(await store.lock(tx, post_id), caller)
        check_if_match(if_match, before.version)
        post = rules.edited(
            before, title=command.title, text=text, note=command.edit_note, discussion=command.discussion, at=at
        )
        if post is not before:
            await store.update(tx, post, RENDERER_VERSION if post.body != before.body else None)
        if post.revision != before.revision:
            await store.insert_revision(tx, post, command.edit_note, at)
        return await _done(tx, post, None if post is before else PostEdited, at, key)


async def _text(db: Database, caller: Caller, post_id: UUID, body: str | None) -> Text | None:
    """The new body, rendered before the transaction. What was imported as HTML stays HTML."""
    if body is None:
        return None
    async with db.reader() as reader:
        post = await store.find(reader, post_id)
    if post is None or not rules.may_change(post, caller):
        return Text(body, "", "")  # the transaction refuses or replays; nothing of this is stored
    html = await render(body, post.format)
    return Text(body, html, excerpt(html, EXCERPT))


async def publish_post(db: Database, caller: Caller, post_id: UUID, key: Key | None = None) -> CommandResult:
    """Show a draft or a withdrawn post to everybody; a published one stays as it is.

    Raises:
        Problem: `sign-in-required`, `not-found`, `forbidden`, and those of the idempotency key.
    """
    caller.require_person()
    at = rules.now()
    async with db.transaction() as tx:
        if (kept := await idempotency.replay(tx, key)) is not None:
            return await _replayed(tx, kept)
        before = rules.to_change(await store.lock(tx, post_id), caller)
        post = rules.published(before, at)
        if post is not before:
            await store.update(tx, post)
        return await _done(tx, post, None if post is before else PostPublished, at, key)


async def withdraw_post(db: Database, caller: Caller, post_id: UUID, key: Key | None = None) -> CommandResult:
    """Hide a published post from everybody but its author and admins; a withdrawn one stays as it is.

    Raises:
        Problem: `sign-in-required`, `not-found`, `forbidden`, `wrong-state` for a draft, and those of the key.
    """
    caller.require_person()
    at = rules.now()
    async with db.transaction() as tx:
        if (kept := await idempotency.replay(tx, key)) is not None:
            return await _replayed(tx, kept)
        before = rules.to_change(await store.lock(tx, post_id), caller)
        post = rules.withdrawn(before)
        if post is not before:
            await store.update(tx, post)
        return await _done(tx, post, None if post is before else PostWithdrawn, at, key)


async def import_post(db: Database, command: ImportPost) -> tuple[UUID, bool]:
    """Take over a post from elsewhere with its dates and state. Returns its id and whether it is new here.

    A repetition, also at the same time, changes nothing. No mail is ever sent about what was imported.

    Raises:
        Problem: `invalid` for a source or a date that cannot be kept.
    """
    source = (command.site, command.source_id)
    if len("".join(source).encode()) > LONGEST_SOURCE:
        raise invalid("source_id", "is too long together with site")
    created_at = _kept_moment("created_at", command.created_at)
    published_at = _kept_moment("published_at", command.published_at or command.created_at)
    async with db.reader() as reader:
        if (known := await store.find_by_source(reader, source)) is not None:
            return known, False
    html = await render(command.body, command.format)
    summary = await render(command.excerpt, "html") if command.excerpt else html
    post = Post(
        id=id_at(created_at) if created_at.year >= 1970 else new_id(),
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
    slug = slugs.made(post.id, slugs.decoded(command.slug), post.title)
    async with db.transaction() as tx:
        stored = await _insert_under_free_slug(tx, post, slug, source)
        if stored.id != post.id:
            return stored.id, False
        await store.insert_revision(tx, stored, None, created_at)
        await outbox.add(tx, rules.fact(PostImported, stored, rules.now()))
    return stored.id, True


def _kept_moment(field: str, moment: datetime) -> datetime:
    """A date from elsewhere, if the years that PostgreSQL and ISO 8601 share can hold it."""
    if not 2 <= moment.year <= 9998:
        raise invalid(field, "must be between the years 2 and 9998")
    return rules.to_millisecond(moment)


async def _done(
    tx: Transaction, post: Post, kind: type[PostFact] | None, at: datetime, key: Key | None, *, status: int = 200
) -> CommandResult:
    """Tell what happened, if anything did, and keep the answer under the key."""
    if kind is not None:
        await outbox.add(tx, rules.fact(kind, post, at))
    done = CommandResult(status, rules.representation(post), f"/v1/posts/{post.id}" if status == 201 else None)
    await idempotency.keep(tx, key, Kept(done.status, done.location, post.id, done.representation))
    return done


async def _replayed(tx: Transaction, kept: Kept) -> CommandResult:
    """The first answer again, with the version of now, from which the ETag is made."""
    assert kept.representation is not None and kept.subject is not None
    version = await store.version_of(tx, kept.subject)
    return CommandResult(kept.status, kept.representation | {"version": version}, kept.location, replayed=True)
