"""Import of posts of other systems."""

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from services.chassis.database.pool import Database
from services.chassis.database.sources import checked_source
from services.chassis.errors import invalid
from services.chassis.ids import id_at, new_id
from services.chassis.messaging import outbox
from services.chassis.text.html_to_text import excerpt
from services.chassis.text.renderer import render
from services.contracts.old_addresses import normal_address
from services.contracts.posts import ImportPost, PostImported
from services.contracts.tags import without_doubles
from services.posts import free_slugs, old_addresses, revision_rows, store, tag_rows
from services.posts.domain import post as rules
from services.posts.domain import slugs
from services.posts.domain.post import EXCERPT, Post
from services.posts.domain.word_count import word_count


async def import_post(db: Database, command: ImportPost) -> tuple[UUID, bool]:
    """Import a post of another system with its dates, state and former addresses. Never causes a mail.

    Returns:
        The post's id, and whether the post was created now. A second import of the same source, concurrent ones too,
        finds the first, and adds addresses that it did not have.

    Raises:
        Problem: `invalid` for a source or a date that cannot be stored, and for a body that cannot be rendered.
    """
    source = checked_source(command.site, command.source_id)
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
        has_own_excerpt=bool(command.excerpt),
        word_count=word_count(html),
    )
    slug = slugs.generated(post.id, slugs.decoded(command.slug), post.title)
    async with db.transaction() as tx:
        post = replace(post, tags=await tag_rows.spelt(tx, without_doubles(command.tags)))
        stored = await free_slugs.insert_post(tx, post, slug, source)
        await old_addresses.insert(tx, stored.id, addresses)
        if stored.id != post.id:
            return stored.id, False
        await tag_rows.replace_all(tx, stored)
        await revision_rows.insert(tx, stored, None, created_at)
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
