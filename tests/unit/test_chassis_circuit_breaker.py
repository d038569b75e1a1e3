"""The circuit breaker compared with a model that keeps all outcomes."""

import pytest
from hypothesis import strategies as some
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule
from prometheus_client import REGISTRY

from services.chassis.client.circuit_breaker import Admission, CircuitBreaker

WINDOW, MIN_CALLS, RATIO, OPEN_SECONDS = 10.0, 4, 0.5, 2.0


def new_breaker(clock: list[float], name: str = "model") -> CircuitBreaker:
    return CircuitBreaker(
        name, window=WINDOW, min_calls=MIN_CALLS, ratio=RATIO, open_seconds=OPEN_SECONDS, clock=lambda: clock[0]
    )


class BreakerMachine(RuleBasedStateMachine):
    """Calls begin, succeed, fail or are cancelled, in any order, while time passes."""

    calls = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.clock = [100.0]
        self.breaker = new_breaker(self.clock)
        self.ended: list[tuple[float, bool]] = []
        self.opened_at: float | None = None
        self.probes = 0

    @rule(seconds=some.floats(0, 4))
    def pass_time(self, seconds: float) -> None:
        self.clock[0] += seconds

    @precondition(lambda self: self.breaker.state == "closed")
    @rule(target=calls)
    def begin(self) -> Admission:
        admission = self.breaker.admit()
        assert admission is Admission.NORMAL, "a closed breaker admits all calls"
        return admission

    @precondition(lambda self: self.opened_at is not None and self.clock[0] - self.opened_at < OPEN_SECONDS)
    @rule()
    def begin_while_open(self) -> None:
        assert self.breaker.admit() is Admission.REFUSED
        assert self.breaker.state == "open"
        assert 1 <= self.breaker.retry_after <= OPEN_SECONDS + 1

    @precondition(lambda self: self.opened_at is not None and self.clock[0] - self.opened_at >= OPEN_SECONDS)
    @rule(target=calls)
    def begin_while_half_open(self) -> Admission:
        admission = self.breaker.admit()
        expected = Admission.REFUSED if self.probes else Admission.PROBE
        assert admission is expected, "exactly one probe at a time"
        self.probes += admission is Admission.PROBE
        return admission

    @rule(admission=consumes(calls), ok=some.sampled_from([True, False, None]))
    def end(self, admission: Admission, ok: bool | None) -> None:
        if admission is Admission.REFUSED:
            return  # the call was not admitted, so it has no outcome
        self.breaker.record(admission, ok)
        now = self.clock[0]
        if admission is Admission.PROBE:
            self.probes -= 1
            if ok:
                self.opened_at, self.ended = None, []
            elif ok is False:
                self.opened_at = now
        elif ok is not None and self.opened_at is None:
            self.ended.append((now, ok))
            recent = [ok for at, ok in self.ended if at > now - WINDOW]
            if not ok and len(recent) >= MIN_CALLS and recent.count(False) >= RATIO * len(recent):
                self.opened_at = now

    @invariant()
    def agrees_with_the_model(self) -> None:
        if self.opened_at is None:
            assert self.breaker.state == "closed"
        elif self.clock[0] - self.opened_at >= OPEN_SECONDS or self.probes:
            assert self.breaker.state == "half-open"
        else:
            assert self.breaker.state == "open"
        assert self.probes in (0, 1)


TestBreakerMachine = BreakerMachine.TestCase


def gauge(name: str) -> float | None:
    return REGISTRY.get_sample_value("rapport_breaker_state", {"upstream": name, "purpose": "calls"})


def test_gauge_shows_the_state() -> None:
    clock = [0.0]
    breaker = new_breaker(clock, "gauge")
    assert gauge("gauge") == 0
    for _ in range(MIN_CALLS):
        breaker.record(breaker.admit(), False)
    assert gauge("gauge") == 2
    clock[0] += OPEN_SECONDS
    probe = breaker.admit()
    assert gauge("gauge") == 1
    breaker.record(probe, True)
    assert gauge("gauge") == 0


@pytest.mark.parametrize("failures", [1, 2])
def test_breaker_stays_closed_below_the_ratio(failures: int) -> None:
    breaker = new_breaker([0.0])
    for ok in [True] * 8 + [False] * failures:
        breaker.record(breaker.admit(), ok)
    assert breaker.state == "closed"


def test_failures_outside_the_window_do_not_count() -> None:
    clock = [0.0]
    breaker = new_breaker(clock)
    for _ in range(MIN_CALLS - 1):
        breaker.record(breaker.admit(), False)
    clock[0] += WINDOW
    breaker.record(breaker.admit(), False)
    assert breaker.state == "closed"


def test_cancelled_probe_admits_another_one() -> None:
    clock = [0.0]
    breaker = new_breaker(clock)
    for _ in range(MIN_CALLS):
        breaker.record(breaker.admit(), False)
    clock[0] += OPEN_SECONDS
    breaker.record(breaker.admit(), None)
    assert breaker.admit() is Admission.PROBE
