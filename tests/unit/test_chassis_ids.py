"""Ids of imported things are ordered by their time, then by the number of their source."""

from datetime import UTC, datetime, timedelta

import pytest

from services.chassis.ids import id_at, moment_of

THEN = datetime(2009, 2, 7, 3, 4, 5, 678_000, UTC)


@pytest.mark.parametrize(
    "sources",
    [["1", "2", "9", "10", "11", "100", str(2**39)], ["x#1", "x#2", "a10"], ["post-1", "http://b.example/?p=2"]],
)
def test_the_number_of_the_source_orders_ids_of_one_moment(sources: list[str]) -> None:
    for _ in range(20):
        ids = [id_at(THEN, source) for source in sources]
        assert ids == sorted(ids)
        assert {moment_of(one) for one in ids} == {THEN}
        assert {(one.version, one.variant) for one in ids} == {(7, "specified in RFC 4122")}
        assert max(ids) < id_at(THEN + timedelta(milliseconds=1), "0")


@pytest.mark.parametrize("source", ["", "7", "x", "9" * 30, "9" * 400])
def test_equal_sources_of_different_blogs_get_different_ids(source: str) -> None:
    assert len({id_at(THEN, source) for _ in range(1000)}) == 1000
