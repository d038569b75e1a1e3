"""State the present rows of an owner, batch by batch, so that read models become what the owner says.

Each batch locks its rows, reads them and adds their events in one transaction, like a command that changes them: what
is stated has its place among the changes. A stated event is of the epoch in which it is stated and causes no mail.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID

from services.chassis.database.pool import Database, Reader, Transaction
from services.chassis.messaging import epochs, outbox
from services.contracts.event import Event
from services.contracts.services import STATED, KnownRow

Versions = Sequence[tuple[UUID, int]]


class Stating:
    """The rows of one owner.

    Args:
        versions: returns (id, version) of the next rows behind an id, in the order of ids, at most so many.
        versions_of: returns (id, version) of the rows with these ids.
        lock: locks the next rows behind an id as their commands do; returns their ids and the events that state them.
        gone: returns the event that says that a row is not there; None where nobody reads the rows.
    """

    def __init__(
        self,
        db: Database,
        *,
        versions: Callable[[Reader, UUID, int], Awaitable[Versions]],
        versions_of: Callable[[Reader, Sequence[UUID]], Awaitable[Versions]],
        lock: Callable[[Transaction, UUID, int], Awaitable[Sequence[tuple[UUID, Event]]]],
        gone: Callable[[KnownRow], Event] | None = None,
    ) -> None:
        self._db = db
        self._versions = versions
        self._versions_of = versions_of
        self._lock = lock
        self._gone = gone

    async def rows(self, after: UUID, ids: Sequence[UUID] | None) -> dict[str, Any]:
        """Return the epoch, id and version of the next rows behind `after` or of those with these ids, and the next."""
        async with self._db.reader() as reader:
            epoch = await epochs.find_epoch(reader)
            if ids is not None:
                found, following = await self._versions_of(reader, ids), None
            else:
                found = await self._versions(reader, after, STATED)
                following = _next(found)
        return {"epoch": epoch, "items": [(str(row_id), version) for row_id, version in found], "next": following}

    async def state(self, after: UUID) -> dict[str, Any]:
        """State the next rows behind `after`. Return how many, and the id behind which the next call goes on."""
        async with self._db.transaction() as tx:
            if await outbox.is_full(tx):
                return {"count": 0, "next": str(after), "is_full": True}
            stated = await self._lock(tx, after, STATED)
            await outbox.add_all(tx, [outbox.new_row(event) for _, event in stated])
        return {"count": len(stated), "next": _next(stated), "is_full": False}

    async def state_gone(self, known: Sequence[KnownRow]) -> dict[str, Any]:
        """State which of these rows are not there. Return how many."""
        async with self._db.transaction() as tx:
            if await outbox.is_full(tx):
                return {"count": 0, "is_full": True}
            present = {row_id for row_id, _ in await self._versions_of(tx, [row.id for row in known])}
            gone = [self._gone(row) for row in known if row.id not in present] if self._gone else []
            await outbox.add_all(tx, [outbox.new_row(event) for event in gone])
        return {"count": len(gone), "is_full": False}

    async def raise_epoch(self, above: int) -> dict[str, Any]:
        """Raise the epoch, so that what is stated from now on overtakes everything that readers know."""
        async with self._db.transaction() as tx:
            return {"epoch": await epochs.raise_epoch(tx, above)}


def _next(rows: Sequence[tuple[UUID, object]]) -> str | None:
    return str(rows[-1][0]) if len(rows) == STATED else None


def known_rows(rows: Sequence[Any], *, is_page: bool) -> dict[str, Any]:
    """Return rows of a read model (id, key, epoch, version, gone), and the id behind which the next page begins."""
    items = [(str(row["id"]), str(row["key"]), row["epoch"], row["version"], row["gone"]) for row in rows]
    return {"items": items, "next": items[-1][0] if is_page and len(items) == STATED else None}
