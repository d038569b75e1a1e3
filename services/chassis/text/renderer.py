"""Render Markdown or stored HTML to safe HTML: parse, rewrite in one pass, sanitise. All of it takes linear time.

Short texts are rendered where they come in; long ones take more than a few milliseconds, so a thread renders them.
"""

from collections.abc import Collection
from functools import partial
from typing import Literal
from uuid import UUID

from services.chassis.errors import invalid
from services.chassis.text.fragments import targets_in
from services.chassis.text.imported_html import paragraphs
from services.chassis.text.markdown import parse
from services.chassis.text.markdown_rewriter import MarkdownRewriter
from services.chassis.text.refused import Refused
from services.chassis.text.render_queue import RenderQueue
from services.chassis.text.rewriter import Kind, Rewriter
from services.chassis.text.sanitiser import sanitised

__all__ = ["RENDERER_VERSION", "Format", "Kind", "is_busy", "is_long", "render", "render_at_once", "to_html"]

RENDERER_VERSION = 4
SHORT = 1_000  # characters; the costliest text of this length takes about 5 ms
SPARE_SIZE = 100_000  # characters of HTML that any text may become
SIZE_FACTOR = 8  # and as many more for each of its own

Format = Literal["markdown", "html"]


def to_html(
    source: str,
    format: Format,
    kind: Kind = "post",
    *,
    anchor: str = "text",
    picture_hosts: Collection[str] = (),
    may_be_empty: bool = True,
) -> str:
    """Return safe HTML of a text in Markdown, or of HTML as blog software stores it. See `render`.

    Raises:
        Refused: the text cannot be rendered as it is.
    """
    most = SPARE_SIZE + SIZE_FACTOR * len(source)
    source = source.replace("\r\n", "\n").replace("\r", "\n")
    rewriter: Rewriter
    if format == "markdown":
        html, source = parse(source, is_comment=kind == "comment")
        rewriter = MarkdownRewriter(kind, picture_hosts, most, source, anchor)
    else:
        html = paragraphs(source)
        rewriter = Rewriter(kind, picture_hosts, most, targets_in(html, anchor))
    html = sanitised(rewriter.rewrite(html))
    if len(html) > most:
        raise Refused("becomes too large when it is shown")
    if not may_be_empty and not rewriter.is_visible:
        raise Refused("shows nothing")
    return html


_queue = RenderQueue()


def is_long(source: str) -> bool:
    """Return whether rendering may cost so much that what forbids it should be found out before."""
    return len(source) > SHORT


def is_busy(owner: UUID) -> bool:
    """Return whether another text of this person would wait for one that is being rendered."""
    return _queue.is_busy(owner)


def render_at_once(
    source: str,
    format: Format,
    kind: Kind,
    *,
    anchor: str = "text",
    picture_hosts: Collection[str] = (),
    may_be_empty: bool = False,
) -> str:
    """Return safe HTML of the text as `render` does, but now: for short texts of people who are not busy.

    Raises:
        Problem: `invalid` naming `body` for a text that shows nothing, is nested too deeply or becomes too large.
    """
    try:
        return to_html(source, format, kind, anchor=anchor, picture_hosts=picture_hosts, may_be_empty=may_be_empty)
    except Refused as refusal:
        raise invalid("body", str(refusal)) from None


async def render(
    source: str,
    format: Format,
    kind: Kind,
    *,
    anchor: str = "text",
    picture_hosts: Collection[str] = (),
    may_be_empty: bool = False,
    owner: UUID | None = None,
) -> str:
    """Return safe HTML of the text.

    Args:
        kind: what the text is. In a comment a line end is a line end, quotations end with their marks, headings stand
            lower, and pictures are links.
        anchor: what makes ids, such as those of footnotes, unique on a page: the id of the comment or the post.
        picture_hosts: whose pictures a comment may show.
        may_be_empty: whether a text that shows nothing is rendered, as what is imported.
        owner: the person whose text it is; one at a time is rendered for each.

    Raises:
        Problem: as `render_at_once`; `unavailable` when too many texts wait or it would come too late.
    """
    work = partial(
        render_at_once, source, format, kind, anchor=anchor, picture_hosts=picture_hosts, may_be_empty=may_be_empty
    )
    return await _queue.run(work, owner, in_thread=is_long(source))
