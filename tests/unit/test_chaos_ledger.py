"""The ledger of the crash tests detects every violation: a check that cannot fail would prove nothing."""

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import combinations_with_replacement
from typing import Any
from uuid import UUID, uuid4

from services.contracts.event import Envelope
from tests.chaos.findings import Findings, inversions, percentile
from tests.chaos.ledger import UNPUBLISHED, Ledger, Operation, settled

COMMENT = uuid4()


class OneComment(Ledger):
    """A ledger of one comment that moves on while it is looked for: outbox, log, waiting mail.

    Attributes:
        moves: numbers of the reads before which it moves on.
    """

    def __init__(self, moves: tuple[int, int]) -> None:
        self.moves, self.reads = moves, 0

    async def _rows(self, service: str, sql: str) -> list[Any]:
        step = sum(self.reads >= move for move in self.moves)
        self.reads += 1
        if sql == UNPUBLISHED:
            return [(int(service == "comments" and step == 0),)]
        if "from notifications" in sql:
            return [(int(step == 2),)]
        there = service == "comments" if "from outbox" in sql else service == "notify" and step == 2
        return [{"event_id": COMMENT}] if there else []


def row(body: str | None, version: int = 1, state: str = "visible", id: UUID = COMMENT) -> Mapping[str, Any]:
    return {"id": id, "body": body, "version": version, "state": state}


def written(text: str = "a") -> Operation:
    return Operation(text, outcome="ok", subject=COMMENT)


def changed(text: str, outcome: str = "ok", kind: str = "edit") -> Operation:
    return Operation(text, kind=kind, outcome=outcome, subject=COMMENT)  # type: ignore[arg-type]  # plain texts


def wrong(operations: list[Operation], rows: list[Mapping[str, Any]]) -> dict[str, int]:
    return {name: count for name, count in settled(operations, rows).items() if count}


def test_acknowledged_and_stored_operations_are_right() -> None:
    assert wrong([written()], [row("a")]) == {}
    assert wrong([written(), changed("b")], [row("b", 2)]) == {}
    assert wrong([written(), changed("x", kind="remove")], [row(None, 2, "removed")]) == {}


def test_an_acknowledged_operation_without_its_effect_is_lost() -> None:
    assert wrong([written()], []) == {"lost": 1}
    assert wrong([written(), changed("b")], [row("a", 2)]) == {"lost": 1}
    assert wrong([written(), changed("b")], [row("a", 1)]) == {"lost": 2}
    assert wrong([written(), changed("x", kind="remove")], [row("a", 2)]) == {"lost": 1}


def test_a_refused_operation_with_an_effect_is_a_phantom() -> None:
    assert wrong([Operation("a", outcome="failed")], [row("a")]) == {"phantom": 1}


def test_an_operation_done_twice_is_a_duplicate() -> None:
    assert wrong([written()], [row("a"), row("a", id=uuid4())]) == {"duplicate_effects": 1}
    assert wrong([written(), changed("b")], [row("b", 3)]) == {"duplicate_effects": 1}
    assert wrong([Operation("a")], [row("a"), row("a", id=uuid4())]) == {"duplicate_effects": 1}


def test_an_unknown_operation_may_have_happened_or_not() -> None:
    for rows in ([], [row("a")]):
        assert wrong([Operation("a")], rows) == {}
    for rows in ([row("a", 1)], [row("b", 2)]):
        assert wrong([written(), changed("b", "unknown")], rows) == {}


async def test_work_that_moves_on_while_it_is_looked_for_is_still_in_progress() -> None:
    reads = 13
    for moves in combinations_with_replacement(range(reads), 2):
        ledger = OneComment(moves)
        assert await ledger.under_way(), moves
        assert ledger.reads <= reads


def record(subject: UUID, version: int, id: UUID | None = None) -> Envelope:
    return Envelope(
        id=id or uuid4(),
        source="/services/comments",
        type="dev.rapport.comments.posted.v1",
        subject=subject,
        time=datetime.now(UTC),
        key=subject,
        data=b'{"version": %d}' % version,
    )


def test_only_first_occurrences_can_be_out_of_order() -> None:
    other, again = uuid4(), record(COMMENT, 1)
    assert inversions([again, record(other, 2), record(COMMENT, 2), again]) == 0
    assert inversions([record(COMMENT, 2), record(COMMENT, 1)]) == 1


def test_findings_list_the_counts_that_must_be_0() -> None:
    assert Findings(operations=3, raw_duplicates=1, duplicate_mails=1).wrong() == {}
    assert Findings(operations=3, lost=1, stray_mails=2).wrong() == {"lost": 1, "stray_mails": 2}


def test_a_percentile_is_a_measured_value() -> None:
    assert percentile([3, 1, 2], 0.99) == 3
    assert percentile([], 0.5) == 0
