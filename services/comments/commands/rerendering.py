"""Rendering beside writing: previews, and stored comments anew."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from services.chassis.database.pool import Database
from services.chassis.identity import Caller
from services.chassis.text.renderer import RENDERER_VERSION, render
from services.chassis.text.rerendering import BATCH, Stored, rerender_batch
from services.comments.store import comment_changes
from services.contracts.comments import PreviewComment


async def preview(caller: Caller, query: PreviewComment, picture_hosts: Collection[str] = ()) -> str:
    """Return the HTML that a text would have as a comment.

    Raises:
        Problem: `sign-in-required`, and those of `render`.
    """
    owner = caller.require_person()
    return await render(query.body, "markdown", "comment", anchor="preview", picture_hosts=picture_hosts, owner=owner)


async def rerender_comments(db: Database, after: UUID | None, picture_hosts: Collection[str] = ()) -> dict[str, Any]:
    """Render the next comments anew that an older renderer has rendered. Versions stay, and nothing is published.

    Raises:
        Problem: `unavailable`.
    """

    async def render_anew(text: Stored) -> str:
        anchor = str(text.id)
        return await render(
            text.body, text.format, "comment", anchor=anchor, picture_hosts=picture_hosts, may_be_empty=True
        )

    async def store(text: Stored, html: str) -> bool:
        async with db.transaction() as tx:
            return await comment_changes.update_html(tx, text, html, RENDERER_VERSION)

    async with db.reader() as reader:
        texts = await comment_changes.find_outdated(reader, RENDERER_VERSION, after, BATCH)
    return await rerender_batch(texts, render_anew, store)
