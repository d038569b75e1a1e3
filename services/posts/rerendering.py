"""Rendering beside writing: previews, and stored posts anew.

Posts are rendered anew by a newer renderer, or with links to posts that were imported later.
"""

from typing import Any
from uuid import UUID

from services.chassis.database.pool import Database
from services.chassis.errors import not_found
from services.chassis.identity import Caller
from services.chassis.text.renderer import RENDERER_VERSION, render
from services.chassis.text.rerendering import BATCH, Stored, rerender_batch
from services.contracts.posts import CompleteImport, PreviewPost
from services.posts import store
from services.posts.domain.word_count import word_count


async def preview(caller: Caller, query: PreviewPost) -> str:
    """Return the HTML that a text would have as a post.

    Raises:
        Problem: `sign-in-required`, and those of `render`.
    """
    owner = caller.require_person()
    return await render(query.body, "markdown", "post", anchor="preview", owner=owner)


async def rerender_posts(db: Database, after: UUID | None) -> dict[str, Any]:
    """Render the next posts anew that an older renderer has rendered, and count their words.

    Versions stay, and nothing is published.

    Excerpts stay too: that of an imported post was perhaps its own.

    Raises:
        Problem: `unavailable`.
    """

    async def render_anew(text: Stored) -> str:
        return await render(text.body, text.format, "post", anchor=str(text.id), may_be_empty=True)

    async def store_html(text: Stored, html: str) -> bool:
        async with db.transaction() as tx:
            return await store.update_html(tx, text, html, RENDERER_VERSION, word_count(html))

    async with db.reader() as reader:
        texts = await store.find_outdated(reader, RENDERER_VERSION, after, BATCH)
    return await rerender_batch(texts, render_anew, store_html)


async def complete_import(db: Database, command: CompleteImport) -> bool:
    """Give an imported post the text that leads to posts imported after it. Its version stays; nothing is published.

    Returns:
        Whether the text has changed: a post that anybody has changed since keeps its text.

    Raises:
        Problem: `not-found`, and `invalid` for a body that cannot be rendered.
    """
    async with db.reader() as reader:
        post = await store.find(reader, command.post_id)
    if post is None:
        raise not_found()
    if not post.imported or post.version != 1 or post.body == command.body:
        return False
    html = await render(command.body, post.format, "post", anchor=str(post.id), may_be_empty=True)
    async with db.transaction() as tx:
        return await store.complete_import(tx, post.id, command.body, html, RENDERER_VERSION, word_count(html))
