"""Who is let in when a server's connections are taken, and who has to leave."""

from dataclasses import dataclass

import pytest

from services.chassis.http import connection_shares
from services.chassis.http.client_networks import Networks
from services.chassis.http.connection_shares import ConnectionShares, Wait

BUSY = None


@dataclass(eq=False)
class Fake:
    """A connection that waits as it is told."""

    wait: tuple[Wait, float] | None = BUSY
    dropped: bool = False

    def waits(self) -> tuple[Wait, float] | None:
        return self.wait

    def drop(self) -> None:
        self.dropped = True


class Clock:
    """Whoever asks for the time asks later than any search before."""

    now = 0.0
    stands = False

    def __call__(self) -> float:
        self.now += 0 if self.stands else connection_shares.SHARE_SEARCH_SECONDS
        return self.now


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_shares, "MAX_CONNECTIONS", 8)
    monkeypatch.setattr(connection_shares, "SHARE", 3)


def shares(clock: Clock | None = None, exempt: tuple[str, ...] = (), *, limited: bool = True) -> ConnectionShares:
    return ConnectionShares(clock or Clock(), limited=limited, exempt=Networks(exempt))


def fill(into: ConnectionShares, wait: tuple[Wait, float] | None, *peers: str) -> list[Fake]:
    made = [Fake(wait) for _ in peers]
    assert all(into.admit(one, peer) for one, peer in zip(made, peers, strict=True))
    return made


def test_a_network_has_a_share_and_the_others_the_rest() -> None:
    of_server = shares()
    fill(of_server, BUSY, *["192.0.2.1"] * 3)
    assert not of_server.admit(Fake(), "192.0.2.1")
    fill(of_server, BUSY, "192.0.2.2", "192.0.2.3")
    assert len(of_server) == 5


@pytest.mark.parametrize(
    ("same", "other"),
    [
        (["2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::3"], "2001:db8:0:1::1"),
        (["192.0.2.1", "::ffff:192.0.2.1", "::ffff:c000:201"], "::ffff:192.0.2.2"),
        (["fe80::1%eth0", "fe80::2%eth0", "fe80::3%eth1"], "2001:db8::1"),
        ([None, "unix", ""], "192.0.2.1"),
    ],
)
def test_an_ipv6_client_is_its_network(same: list[str], other: str) -> None:
    of_server = shares()
    fill(of_server, BUSY, *same)
    assert not of_server.admit(Fake(), same[0])
    assert of_server.admit(Fake(), other)


def test_one_that_left_makes_room() -> None:
    of_server = shares()
    first, *_ = fill(of_server, BUSY, *["192.0.2.1"] * 3)
    of_server.leave(first)
    of_server.leave(first)
    assert of_server.admit(Fake(), "192.0.2.1")
    assert len(of_server) == 3


def test_what_waits_longest_for_its_client_is_closed_first_and_streams_never() -> None:
    of_server = shares()
    stream, *_ = fill(of_server, BUSY, "192.0.2.1")
    (late,) = fill(of_server, (Wait.TO_ASK, 9.0), "192.0.2.1")
    (early,) = fill(of_server, (Wait.TO_ASK, 2.0), "192.0.2.1")
    assert of_server.admit(Fake(), "192.0.2.1")
    assert (stream.dropped, late.dropped, early.dropped) == (False, False, True)


@pytest.mark.parametrize("place", range(len(Wait) - 1))
def test_what_is_cheaper_to_lose_is_closed_first(place: int) -> None:
    cheap, dear = list(Wait)[place : place + 2]
    of_server = shares()
    (second,) = fill(of_server, (dear, 1.0), "192.0.2.1")
    (first,) = fill(of_server, (cheap, 9.0), "192.0.2.1")
    fill(of_server, BUSY, "192.0.2.1")
    assert of_server.admit(Fake(), "192.0.2.1")
    assert (first.dropped, second.dropped) == (True, False)


@pytest.mark.parametrize("wait", Wait)
def test_somebody_else_always_gets_in_when_all_are_taken(wait: Wait) -> None:
    of_server = shares()
    taken = fill(of_server, (wait, 1.0), *(f"192.0.2.{number % 4}" for number in range(8)))
    for number in range(20):
        assert of_server.admit(Fake((Wait.TO_SEND_HEADERS, 5.0)), f"198.51.100.{number}")
        assert len(of_server) <= 8
    assert all(one.dropped for one in taken) or wait > Wait.TO_SEND_HEADERS


def test_one_of_a_network_with_all_its_share_does_not_close_connections_of_others() -> None:
    of_server = shares()
    fill(of_server, BUSY, *["192.0.2.1"] * 3)
    idle = fill(of_server, (Wait.TO_ASK, 1.0), *(f"198.51.100.{number}" for number in range(5)))
    assert not of_server.admit(Fake(), "192.0.2.1")
    assert not any(one.dropped for one in idle)


def test_proxies_have_as_many_as_they_need_and_lose_theirs_last() -> None:
    of_server = shares(exempt=("10.0.0.0/8",))
    proxied = fill(of_server, (Wait.TO_ASK, 1.0), *["10.0.0.1", "::ffff:10.0.0.1", "10.2.2.2"] * 2)
    (direct,) = fill(of_server, (Wait.TO_ASK, 7.0), "192.0.2.1")
    fill(of_server, BUSY, "192.0.2.2")
    assert of_server.admit(Fake(), "192.0.2.3")
    assert direct.dropped
    assert not any(one.dropped for one in proxied)
    assert of_server.admit(Fake(), "10.0.0.1")
    assert sum(one.dropped for one in proxied) == 1
    assert len(of_server) == 8


def test_services_have_no_shares() -> None:
    of_server = shares(limited=False)
    fill(of_server, BUSY, *["192.0.2.1"] * 8)
    assert not of_server.admit(Fake(), "192.0.2.2")


def test_responses_unread_for_longest_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_shares, "UNREAD_BYTES", 100)
    of_server = shares()
    first, second, third = fill(of_server, BUSY, "192.0.2.1", "192.0.2.2", "192.0.2.3")
    of_server.stop_reading(first, 40)
    of_server.stop_reading(second, 40)
    of_server.read_on(first)
    of_server.stop_reading(first, 60)
    assert not (first.dropped or second.dropped)
    of_server.stop_reading(third, 30)
    assert (first.dropped, second.dropped, third.dropped) == (False, True, False)
    of_server.leave(first)
    (fourth,) = fill(of_server, BUSY, "192.0.2.4")
    of_server.stop_reading(fourth, 70)
    assert not (third.dropped or fourth.dropped)
    assert len(of_server) == 2


def test_searches_are_rare() -> None:
    clock = Clock()
    of_server = shares(clock)
    fill(of_server, (Wait.TO_ASK, 2.0), *["192.0.2.1"] * 3)
    fill(of_server, (Wait.TO_ASK, 1.0), *(f"198.51.100.{number}" for number in range(5)))
    clock.stands = True
    clock.now += connection_shares.SHARE_SEARCH_SECONDS
    assert of_server.admit(Fake(), "192.0.2.1")
    assert not of_server.admit(Fake(), "192.0.2.1")
    assert of_server.admit(Fake(), "192.0.2.2")
    assert not of_server.admit(Fake(), "192.0.2.3")
    clock.now += connection_shares.SEARCH_SECONDS
    assert not of_server.admit(Fake(), "192.0.2.1")
    assert of_server.admit(Fake(), "192.0.2.3")
    clock.now += connection_shares.SHARE_SEARCH_SECONDS
    assert of_server.admit(Fake(), "192.0.2.1")
