"""Slices of the outbox: divide its rows among all running relays, so that each aggregate has one relay at a time.

A row is in the slice that the last byte of its key says (`migrations/0006_outbox_slices.sql`). A relay owns a slice by
a session advisory lock on its connection, so PostgreSQL frees the slices of a relay that ends, and those of one that
is paused after the idle timeout of its session.

Each relay also holds the lock `RELAYS` in shared mode, so `pg_locks` lists all relays. The place of a relay in that
list tells its share, and the shares add up to all slices: who owns more gives up the surplus, who owns less takes free
ones. A relay that comes, leaves or gives up slices notifies the others, which look again at once; after a kill nobody
notifies, so each also looks every second. A relay of a version without slices holds `RELAYS` alone, and keeps the
others out, until it has ended.
"""

import time
from collections.abc import Callable
from typing import Any

SLICES = 16  # as in the index `outbox_slices`
LOOK_SECONDS = 1.0
RELAYS = 0x5261_7070_6F72_7402  # arbitrary, unique among the advisory locks of the database
CLASS = RELAYS >> 32  # of the locks of slices: (CLASS, slice)
CHANNEL = "relays"

TRY_JOIN = "select pg_try_advisory_lock_shared($1)"
TRY_LOCK = "select pg_try_advisory_lock($1, $2)"
UNLOCK = "select pg_advisory_unlock($1, slice) from unnest($2::int[]) as slice"
UNLOCK_ALL = "select pg_advisory_unlock_all()"
SELECT_HOLDERS = """
select pid, case objsubid when 2 then objid::int end as slice
from pg_locks
where locktype = 'advisory' and granted
  and database = (select oid from pg_database where datname = current_database())
  and classid = $1 and (objsubid = 2 or (objsubid = 1 and objid = $2))
"""


class Slices:
    """The slices of one relay.

    Args:
        connection: the relay's own, which holds the locks.
        on_change: called when the relay should divide again.

    Attributes:
        owned: the slices whose rows this relay publishes.
        is_alone: whether there was no other relay when it looked last.
    """

    def __init__(self, connection: Any, on_change: Callable[[], None]) -> None:
        self._connection = connection
        self._on_change = on_change
        self._look_at = 0.0
        self.owned: list[int] = []
        self.is_alone = True

    async def join(self) -> bool:
        """Become one of the relays; return False while a relay of a version without slices owns the outbox."""
        if not await self._connection.fetchval(TRY_JOIN, RELAYS):
            return False
        await self._connection.add_listener(CHANNEL, self._notified)
        await self._notify()
        return True

    @property
    def due_in(self) -> float:
        """Return in how many seconds the relay should divide again."""
        return max(0.0, self._look_at - time.monotonic())

    async def divide(self) -> None:
        """Give up or take slices, until this relay owns its share of them. Call it between two batches only."""
        self._look_at = time.monotonic() + LOOK_SECONDS
        holders = await self._connection.fetch(SELECT_HOLDERS, CLASS, RELAYS & 0xFFFF_FFFF)
        relays = sorted(row["pid"] for row in holders if row["slice"] is None)
        taken = {row["slice"] for row in holders}
        self.is_alone = len(relays) == 1
        share = fair_share(relays.index(self._connection.get_server_pid()), len(relays))
        surplus, self.owned = self.owned[share:], self.owned[:share]
        if surplus:
            await self._connection.execute(UNLOCK, CLASS, surplus)
            await self._notify()
        for number in range(SLICES):
            if len(self.owned) == share:
                break
            if number not in taken and await self._connection.fetchval(TRY_LOCK, CLASS, number):
                self.owned.append(number)

    async def leave(self) -> None:
        """Give up everything at once, so that the other relays go on without a pause."""
        self.owned = []
        await self._connection.execute(UNLOCK_ALL)
        await self._notify()

    async def _notify(self) -> None:
        await self._connection.execute(f"notify {CHANNEL}")

    def _notified(self, _: object, pid: int, *__: object) -> None:
        if pid != self._connection.get_server_pid():
            self._look_at = 0.0
            self._on_change()


def fair_share(place: int, relays: int) -> int:
    """Return how many slices the relay at this place of so many owns. The shares of all add up to `SLICES`."""
    return SLICES // relays + (place < SLICES % relays)
