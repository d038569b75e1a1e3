"""What the ledger counts, and how it tells order from disorder."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar
from uuid import UUID

import orjson

from services.contracts.event import Envelope


@dataclass(frozen=True)
class Findings:
    """What was counted. Everything but the two `raw_` figures and `duplicate_mails` must be 0.

    Attributes:
        lost: acknowledged operations without their row, event or mail.
        phantom: rows of operations that were refused.
        orphan_rows: versions of a post or comment without their event.
        orphan_events: events, in an outbox or in Kafka, without their row.
        unpublished: events that never left the outbox.
        duplicate_effects: more than one row or version for one operation, or a notification more than once.
        inversions: first occurrences of one subject's events that stand in the wrong order, and applied state that
            is older than the owner's.
        raw_duplicates: records in Kafka beyond the first of their id.
        duplicate_mails: mails beyond the first of one Message-ID.
        altered_duplicates: such mails that are not the same to the byte.
        stray_mails: mails for which no notification was sent.
    """

    operations: int
    lost: int = 0
    phantom: int = 0
    orphan_rows: int = 0
    orphan_events: int = 0
    unpublished: int = 0
    duplicate_effects: int = 0
    inversions: int = 0
    raw_duplicates: int = 0
    raw_records: int = 0
    mails: int = 0
    duplicate_mails: int = 0
    altered_duplicates: int = 0
    stray_mails: int = 0

    TOLERATED: ClassVar = ("operations", "raw_duplicates", "raw_records", "mails", "duplicate_mails")

    def wrong(self) -> dict[str, int]:
        """The figures that are not 0 although they must be."""
        return {
            item.name: getattr(self, item.name)
            for item in fields(self)
            if item.name not in self.TOLERATED and getattr(self, item.name)
        }


def version_of(payload: bytes) -> int:
    return int(orjson.loads(payload)["version"])


def inversions(records: Iterable[Envelope]) -> int:
    """Over the first occurrence of each id: how often a subject's version goes down along its partition."""
    seen: set[UUID] = set()
    last: dict[UUID, int] = {}
    found = 0
    for record in records:
        if record.id in seen:
            continue
        seen.add(record.id)
        version = version_of(record.data)
        found += version < last.get(record.subject, 0)
        last[record.subject] = version
    return found


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all do not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0
