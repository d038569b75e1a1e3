"""The breaker against a model that remembers everything."""

import pytest
from hypothesis import strategies as some
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule
from prometheus_client import REGISTRY

from services.chassis.client.circuit_breaker import CircuitBreaker

WINDOW, LEAST, RATIO, PAUSE = 10.0, 4, 0.5, 2.0


def made(clock: list[float], name: str = "model") -> CircuitBreaker:
    return CircuitBreaker(name, window=WINDOW, least=LEAST, ratio=RATIO, pause=PAUSE, clock=lambda: clock[0])


class BreakerMachine(RuleBasedStateMachine):
    """Calls begin, end well, badly or not at all, in any order, while time passes."""

    calls = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.clock = [100.0]
        self.breaker = made(self.clock)
        self.ended: list[tuple[float, bool]] = []
        self.opened_at: float | None = None
        self.probes = 0

    @rule(seconds=some.floats(0, 4))
    def pass_time(self, seconds: float) -> None:
        self.clock[0] += seconds

    @precondition(lambda self: self.breaker.state == "closed")
    @rule(target=calls)
    def begin(self) -> bool | None:
        admitted = self.breaker.admit()
        assert admitted is None, "a closed breaker lets everything pass"
        return admitted

    @precondition(lambda self: self.opened_at is not None and self.clock[0] - self.opened_at < PAUSE)
    @rule()
    def begin_while_open(self) -> None:
        assert self.breaker.admit() is False
        assert self.breaker.state == "open"
        assert 1 <= self.breaker.retry_after <= PAUSE + 1

    @precondition(lambda self: self.opened_at is not None and self.clock[0] - self.opened_at >= PAUSE)
    @rule(target=calls)
    def begin_while_half_open(self) -> bool | None:
        admitted = self.breaker.admit()
        assert admitted is (self.probes == 0), "exactly one probe at a time"
        self.probes += admitted is True
        return admitted

    @rule(probe=consumes(calls), ok=some.sampled_from([True, False, None]))
    def end(self, probe: bool | None, ok: bool | None) -> None:
        if probe is False:
            return  # it never went out, so it tells nothing
        self.breaker.record(probe, ok)
        now = self.clock[0]
        if probe:
            self.probes -= 1
            if ok:
                self.opened_at, self.ended = None, []
            elif ok is False:
                self.opened_at = now
        elif ok is not None and self.opened_at is None:
            self.ended.append((now, ok))
            recent = [well for at, well in self.ended if at > now - WINDOW]
            if not ok and len(recent) >= LEAST and recent.count(False) >= RATIO * len(recent):
                self.opened_at = now

    @invariant()
    def agrees_with_the_model(self) -> None:
        if self.opened_at is None:
            assert self.breaker.state == "closed"
        elif self.clock[0] - self.opened_at >= PAUSE or self.probes:
            assert self.breaker.state == "half-open"
        else:
            assert self.breaker.state == "open"
        assert self.probes in (0, 1)


TestBreakerMachine = BreakerMachine.TestCase


def gauge(name: str) -> float | None:
    return REGISTRY.get_sample_value("rapport_breaker_state", {"upstream": name})


def test_the_gauge_follows() -> None:
    clock = [0.0]
    breaker = made(clock, "gauge")
    assert gauge("gauge") == 0
    for _ in range(LEAST):
        breaker.record(breaker.admit(), False)
    assert gauge("gauge") == 2
    clock[0] += PAUSE
    probe = breaker.admit()
    assert gauge("gauge") == 1
    breaker.record(probe, True)
    assert gauge("gauge") == 0


@pytest.mark.parametrize("failures", [1, 2])
def test_a_few_failures_among_many_open_nothing(failures: int) -> None:
    breaker = made([0.0])
    for ok in [True] * 8 + [False] * failures:
        breaker.record(breaker.admit(), ok)
    assert breaker.state == "closed"


def test_old_failures_are_forgotten() -> None:
    clock = [0.0]
    breaker = made(clock)
    for _ in range(LEAST - 1):
        breaker.record(breaker.admit(), False)
    clock[0] += WINDOW
    breaker.record(breaker.admit(), False)
    assert breaker.state == "closed"


def test_a_cancelled_probe_frees_the_place() -> None:
    clock = [0.0]
    breaker = made(clock)
    for _ in range(LEAST):
        breaker.record(breaker.admit(), False)
    clock[0] += PAUSE
    breaker.record(breaker.admit(), None)
    assert breaker.admit() is True
