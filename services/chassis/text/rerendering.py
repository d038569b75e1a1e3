"""Render stored texts anew, in batches, when the renderer has changed.

A text that cannot be rendered any more keeps the HTML it has.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from services.chassis.errors import Problem
from services.chassis.text.renderer import Format

BATCH = 100  # texts


@dataclass(frozen=True)
class Stored:
    """A text as it is stored."""

    id: UUID
    body: str
    format: Format


async def rerender_batch(
    texts: Sequence[Stored],
    render: Callable[[Stored], Awaitable[str]],
    store: Callable[[Stored, str], Awaitable[bool]],
) -> dict[str, Any]:
    """Render and store a batch. Return how many were rendered, how many refused, and the last id unless it is the end.

    Args:
        texts: at most `BATCH`, in the order of their ids.
        store: stores the HTML unless the text has changed meanwhile; returns whether it did.

    Raises:
        Problem: `unavailable`; the batch can be repeated.
    """
    rendered = refused = 0
    for text in texts:
        try:
            html = await render(text)
        except Problem as problem:
            if problem.kind != "invalid":
                raise
            refused += 1
        else:
            rendered += await store(text, html)
    return {"rendered": rendered, "refused": refused, "next": str(texts[-1].id) if len(texts) == BATCH else None}
