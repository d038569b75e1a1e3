"""How what a reader knows differs from what an owner has."""

from uuid import UUID

import pytest

from services.operator.comparing import Comparison, Kind, Known, State, difference

ID = UUID(int=1)


@pytest.mark.parametrize(
    ("owned", "known", "gone", "kind"),
    [
        ((0, 3), (0, 3), False, None),
        ((0, 3), None, False, "missing"),
        ((0, 3), (0, 2), False, "behind"),
        ((1, 1), (0, 9), False, "behind"),
        ((0, 3), (0, 4), False, "ahead"),
        ((0, 9), (1, 1), False, "ahead"),
        ((0, 3), (0, 3), True, "wrongly gone"),
        (None, (0, 3), False, "not gone"),
        (None, (0, 4), True, None),
        (None, None, False, None),
    ],
)
def test_each_difference(owned: State | None, known: State | None, gone: bool, kind: Kind | None) -> None:
    assert difference(owned, known and Known(ID, ID, known, gone)) == kind


@pytest.mark.parametrize(("owner", "kind"), [("posts", "not gone"), ("comments", "not gone"), ("people", None)])
def test_what_no_resync_would_mend_is_no_difference(owner: str, kind: Kind | None) -> None:
    found = Comparison(owner, "reader")
    assert found.kind_of(None, Known(ID, ID, (0, 3), False)) == kind
    assert found.kind_of((0, 3), None) == "missing"
