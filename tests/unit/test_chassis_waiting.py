"""Back-off after failures."""

import pytest

from services.chassis.runtime.waiting import Backoff


def test_a_backoff_doubles_from_failure_to_failure_and_ends_with_a_success(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("services.chassis.runtime.waiting.time.monotonic", lambda: now[0])
    backoff = Backoff(1.0, 5.0)
    lengths = []
    for _ in range(4):
        assert backoff.fail()
        assert not backoff.fail()
        lengths.append(backoff.left)
        now[0] += backoff.left
        assert backoff.failing
    assert lengths == [1.0, 2.0, 4.0, 5.0]
    backoff.succeed()
    assert not backoff.failing
    assert backoff.fail()
    assert backoff.left == 1.0
