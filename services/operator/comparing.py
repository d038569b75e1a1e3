"""Compare what a service owns with what its reader knows, by (epoch, version)."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from services.contracts.services import FORGOTTEN, READERS, STATED
from services.operator.calls import Services

MOST_IDS = 10_000  # that are looked at again; the rows behind them are counted
PAUSE_SECONDS = 0.5

Kind = Literal["missing", "behind", "ahead", "not gone", "wrongly gone"]
State = tuple[int, int]


@dataclass(frozen=True)
class Known:
    """A row as a reader knows it: id, record key, (epoch, version), and whether it was said to be gone."""

    id: UUID
    key: UUID
    state: State
    gone: bool


@dataclass
class Comparison:
    """What differs between an owner and its reader.

    Attributes:
        rows: how many rows the owner has.
        differing: the ids that differ, at most `MOST_IDS`, and how.
        more: how many more rows differed at the first look.
    """

    owner: str
    reader: str
    rows: int = 0
    differing: dict[UUID, Kind] = field(default_factory=dict)
    more: int = 0

    @property
    def kinds(self) -> dict[Kind, int]:
        """Return how many rows differ in which way."""
        return dict(Counter(self.differing.values()))

    def kind_of(self, owned: State | None, known: Known | None) -> Kind | None:
        """Return how a row differs; None if it does not, or if nobody would say that it is not there."""
        return None if owned is None and self.owner not in FORGOTTEN else difference(owned, known)

    def add(self, row_id: UUID, kind: Kind | None) -> None:
        """Note how a row differs, if it does."""
        if kind is not None and len(self.differing) >= MOST_IDS:
            self.more += 1
        elif kind is not None:
            self.differing[row_id] = kind


def difference(owned: State | None, known: Known | None) -> Kind | None:
    """Return how what a reader knows of a row differs from what its owner has; None if it does not."""
    if owned is None:
        return None if known is None or known.gone else "not gone"
    if known is None:
        return "missing"
    if known.gone:
        return "wrongly gone"
    if known.state == owned:
        return None
    return "behind" if known.state < owned else "ahead"


async def compare(services: Services, owner: str, wait_seconds: float) -> Comparison:
    """Compare all rows of an owner and its reader, and look again at those that differ until they do not.

    Args:
        wait_seconds: how long the reader may lag behind before a difference counts.

    Raises:
        Problem, Failed: as `Services.post`.
    """
    found = Comparison(owner, READERS[owner])
    deadline = time.monotonic() + wait_seconds
    await _look_at_all(services, found)
    while found.differing and time.monotonic() < deadline:
        await asyncio.sleep(PAUSE_SECONDS)
        await _look_again(services, found)
    return found


async def _look_at_all(services: Services, found: Comparison) -> None:
    """Walk both in the order of ids, side by side."""
    owned, known = _owned(services, found.owner), known_rows(services, found.reader)
    left, right = await anext(owned, None), await anext(known, None)
    while left is not None or right is not None:
        if right is None or (left is not None and left[0] <= right.id):
            assert left is not None
            same = right is not None and left[0] == right.id
            found.rows += 1
            found.add(left[0], found.kind_of(left[1], right if same else None))
            left = await anext(owned, None)
            right = await anext(known, None) if same else right
        else:
            found.add(right.id, found.kind_of(None, right))
            right = await anext(known, None)


async def _look_again(services: Services, found: Comparison) -> None:
    """Ask the reader first: what it knows then, its owner has said before."""
    ids = list(found.differing)
    for start in range(0, len(ids), STATED):
        part = ids[start : start + STATED]
        asked = {"ids": [str(row_id) for row_id in part]}
        known = {row.id: row for row in _known(await services.post(found.reader, "/known", asked))}
        owned = dict(_states(await services.post(found.owner, "/stated/rows", asked)))
        for row_id in part:
            kind = found.kind_of(owned.get(row_id), known.get(row_id))
            if kind is None:
                del found.differing[row_id]
            else:
                found.differing[row_id] = kind


async def known_rows(services: Services, reader: str, after: str | None = None) -> AsyncIterator[Known]:
    """Yield everything that a reader knows, in the order of ids."""
    async for page in known_pages(services, reader, after):
        for row in page:
            yield row


async def known_pages(services: Services, reader: str, after: str | None = None) -> AsyncIterator[Sequence[Known]]:
    """Yield what a reader knows, page by page, in the order of ids."""
    place: str | None = after or str(UUID(int=0))
    while place is not None:
        answer = await services.post(reader, "/known", {"after": place})
        yield _known(answer)
        place = answer["next"]


async def _owned(services: Services, owner: str) -> AsyncIterator[tuple[UUID, State]]:
    place: str | None = str(UUID(int=0))
    while place is not None:
        answer = await services.post(owner, "/stated/rows", {"after": place})
        for row in _states(answer):
            yield row
        place = answer["next"]


def _states(answer: dict[str, object]) -> list[tuple[UUID, State]]:
    epoch, items = answer["epoch"], answer["items"]
    assert isinstance(epoch, int) and isinstance(items, list)
    return [(UUID(row_id), (epoch, version)) for row_id, version in items]


def _known(answer: dict[str, object]) -> list[Known]:
    items = answer["items"]
    assert isinstance(items, list)
    return [Known(UUID(row_id), UUID(key), (epoch, version), gone) for row_id, key, epoch, version, gone in items]
