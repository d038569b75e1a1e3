"""Counts of the ledger, and the check of event order."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar
from uuid import UUID

import orjson

from services.contracts.event import Envelope


@dataclass(frozen=True)
class Findings:
    """The counts of one ledger. Everything but the two `raw_` figures and `duplicate_mails` must be 0.

    Attributes:
        lost: acknowledged operations without their row, event or mail.
        phantom: rows of refused operations.
        orphan_rows: versions of a post or comment without their event.
        orphan_events: events, in an outbox or in Kafka, without their row.
        unpublished: events that never left the outbox.
        duplicate_effects: more than one row or version for one operation, or a notification more than once.
        inversions: first occurrences of one subject's events in the wrong order, and applied state that is older than
            the owner's.
        raw_duplicates: records in Kafka beyond the first of their id.
        duplicate_mails: mails beyond the first of one Message-ID.
        altered_duplicates: duplicate mails that differ from the first in any byte.
        stray_mails: mails without a sent notification.
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
        """Return the counts that should be 0 but are not."""
        return {
            item.name: getattr(self, item.name)
            for item in fields(self)
            if item.name not in self.TOLERATED and getattr(self, item.name)
        }


def version_of(payload: bytes) -> int:
    return int(orjson.loads(payload)["version"])


def inversions(records: Iterable[Envelope]) -> int:
    """Count how often a subject's version decreases along its partition, over the first occurrence of each id."""
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
    """Return the smallest value that is not exceeded by this share of all values; 0 if there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0
