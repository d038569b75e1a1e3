"""Comparison of two revisions of a post, in a thread: the longest texts take a tenth of a second."""

from functools import partial
from typing import Any
from uuid import UUID

from services.chassis.database.pool import Database
from services.chassis.errors import invalid
from services.chassis.identity import Caller
from services.chassis.text.render_queue import RenderQueue
from services.posts import queries, revision_rows
from services.posts.domain.differences import difference

_queue = RenderQueue(threads=1)


async def compared(db: Database, caller: Caller, post_id: UUID, number: int, against: int) -> dict[str, Any]:
    """Return a revision with what leads to its text from that of another; null where one of them was blanked.

    One at a time is compared, and of each post one waits in that line: whoever asks holds up others by one.

    Raises:
        Problem: `not-found`, `invalid` for another revision that does not exist, `unavailable` when too many wait.
    """
    shown = await queries.revision(db, caller, post_id, number)
    async with db.reader() as reader:
        other = await revision_rows.find(reader, post_id, against)
    if other is None:
        raise invalid("against", "is no revision of this post")
    if shown["body"] is None or other["body"] is None:
        return shown | {"diff": None}
    work = partial(difference, other["body"], shown["body"])
    parts = await _queue.run(work, post_id, in_thread=True)
    return shown | {"diff": [{"op": part.op, "text": part.text} for part in parts]}
