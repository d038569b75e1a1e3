"""What a person has chosen here, for themselves, beside what the public API shows them anyhow."""

from typing import Any
from uuid import UUID

from services.chassis.database.pool import Database
from services.chassis.http import cursors
from services.contracts.event import rfc3339

FIRST = UUID(int=0)
PAGE = 500

SELECT_FOLLOWS = """
select post_id, changed_at from follows where person_id = $1 and post_id > $2 and follows order by post_id limit $3
"""


async def export_follows(db: Database, person_id: UUID, cursor: str | None) -> dict[str, Any]:
    """Return the next discussions that a person follows; behind the last ones comes an empty page.

    Raises:
        Problem: `malformed-cursor`.
    """
    place = cursors.decode(cursor, "exported-follows", UUID)
    async with db.reader() as reader:
        rows = await reader.fetch(SELECT_FOLLOWS, person_id, place[0] if place else FIRST, PAGE)
    items = [{"post_id": str(row["post_id"]), "since": rfc3339(row["changed_at"])} for row in rows]
    return {"items": items, "next": cursors.encode("exported-follows", rows[-1]["post_id"]) if rows else None}
