"""Rendering stored posts anew."""

from typing import Any
from uuid import UUID

from services.chassis.database.pool import Database
from services.chassis.text.renderer import RENDERER_VERSION, render
from services.chassis.text.rerendering import BATCH, Stored, rerender_batch
from services.posts import store


async def rerender_posts(db: Database, after: UUID | None) -> dict[str, Any]:
    """Render the next posts anew that an older renderer has rendered. Versions stay, and nothing is published.

    Excerpts stay too: that of an imported post was perhaps its own.

    Raises:
        Problem: `unavailable`.
    """

    async def render_anew(text: Stored) -> str:
        return await render(text.body, text.format, "post", anchor=str(text.id), may_be_empty=True)

    async def store_html(text: Stored, html: str) -> bool:
        async with db.transaction() as tx:
            return await store.update_html(tx, text, html, RENDERER_VERSION)

    async with db.reader() as reader:
        texts = await store.find_outdated(reader, RENDERER_VERSION, after, BATCH)
    return await rerender_batch(texts, render_anew, store_html)
