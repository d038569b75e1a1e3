"""Records that cannot be handled: what is put aside, when, and how it comes back."""

from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from services.chassis.errors import unavailable
from services.chassis.messaging import dead_letter
from services.chassis.messaging.cloudevents import Headers, to_headers, to_key
from services.chassis.messaging.consumer import Consumer
from services.chassis.messaging.producer import Producer
from services.chassis.messaging.record_processor import TooManyFailures
from services.chassis.runtime.settings import Settings
from services.contracts.people import PersonConfirmed, PersonRenamed
from services.contracts.topics import PEOPLE
from tests.conftest import NewDatabase, OwnDatabase
from tests.integration.chassis_effects import (
    GROUP,
    Effects,
    committed,
    consumer_for,
    effects_are,
    has_committed,
    publish,
    put_aside,
    send,
)
from tests.integration.chassis_harness import records, renamed, running, sealed
from tests.waiting import eventually


@pytest.fixture
def settings(kafka: str, kafka_prefix: str) -> Settings:
    return Settings(kafka_bootstrap_servers=kafka, kafka_prefix=kafka_prefix)


@pytest.fixture
async def database(new_database: NewDatabase) -> OwnDatabase:
    database = await new_database("services.chassis")
    async with database.transaction() as tx:
        await tx.execute(
            "create table effects (id bigint generated always as identity, event_id uuid, person_id uuid, version int)"
        )
    return database


@pytest.fixture
def effects(database: OwnDatabase) -> Effects:
    return Effects(database)


async def test_a_failing_record_fails_no_other(effects: Effects, settings: Settings) -> None:
    """One of 60 fails for ever: a dead letter after five attempts; the others' effects are there, in order."""

    async def fail(event: PersonRenamed) -> None:
        if event.version == 13:
            raise ValueError("thirteen")

    effects.before = fail
    await publish(settings, *(renamed(version=version) for version in range(60)))
    async with running(consumer_for(effects, settings).run):
        await effects_are(effects, [version for version in range(60) if version != 13], timeout=30)
    [letter] = await dead_letter.entries(settings, GROUP)
    assert (letter.topic, letter.partition, letter.attempts) == (PEOPLE.name, 0, 5)
    assert letter.error == "ValueError: thirteen"
    assert letter.type == PersonRenamed.type
    assert await committed(settings) == 60


async def test_what_passes_by_itself_is_waited_for(effects: Effects, settings: Settings) -> None:
    """Far more than five times, and nothing is put aside."""
    tries = 0

    async def away(_: PersonRenamed) -> None:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise unavailable("away")
        if tries < 6:
            raise TimeoutError

    effects.before = away
    await publish(settings, renamed(version=1))
    async with running(consumer_for(effects, settings).run):
        await effects_are(effects, [1], timeout=30)
    assert tries == 6
    assert await dead_letter.entries(settings, GROUP) == []


POISON: dict[str, tuple[bytes | None, bytes | None, Callable[[Headers], Headers]]] = {
    "no headers": (None, b"{}", lambda _: []),
    "another specversion": (None, None, lambda h: [("ce_specversion", b"0.3"), *h[1:]]),
    "no id": (None, None, lambda h: [entry for entry in h if entry[0] != "ce_id"]),
    "an id that is none": (None, None, lambda h: [(n, b"7" if n == "ce_id" else v) for n, v in h]),
    "a time that is none": (None, None, lambda h: [(n, b"noon" if n == "ce_time" else v) for n, v in h]),
    "not UTF-8": (None, None, lambda h: [(n, b"\xff" if n == "ce_source" else v) for n, v in h]),
    "a key that is none": (b"key", None, lambda h: h),
    "not JSON": (None, b"{", lambda h: h),
    "another shape": (None, b'{"person_id": 7}', lambda h: h),
    "an avro body": (None, None, lambda h: [(n, b"avro/binary" if n == "content-type" else v) for n, v in h]),
}


async def test_what_cannot_be_understood_is_put_aside_at_once(effects: Effects, settings: Settings) -> None:
    """Ten kinds of poison between good records: all good ones applied, ten dead letters with whole headers."""
    producer = Producer(settings)
    sent = []
    for number, (key, value, change) in enumerate(POISON.values()):
        good, bad = sealed(renamed(version=number)), sealed(renamed(version=1000 + number))
        await send(settings, to_key(good), good.data, to_headers(good), producer=producer)
        headers = change(to_headers(bad))
        await send(settings, key or to_key(bad), value or bad.data, headers, producer=producer)
        sent.append((key or to_key(bad), value or bad.data, headers))
    await producer.close()
    async with running(consumer_for(effects, settings).run):
        await effects_are(effects, list(range(len(POISON))), timeout=30)
        await eventually(lambda: put_aside(settings, len(POISON)))
    letters = await dead_letter.entries(settings, GROUP)
    assert [(letter.key, letter.value, letter.headers) for letter in letters] == sent
    assert [letter.offset for letter in letters] == list(range(1, 2 * len(POISON), 2))
    assert {letter.attempts for letter in letters} == {0}
    assert all(letter.error.startswith("Undecodable: ") for letter in letters)


async def test_unknown_and_unhandled_types_are_passed_over(effects: Effects, settings: Settings) -> None:
    for name in ("dev.rapport.people.promoted.v1", PersonConfirmed.type):
        envelope = sealed(renamed(), type=name, data=b"whatever")
        await send(settings, to_key(envelope), envelope.data, to_headers(envelope))
    await publish(settings, renamed(version=1))
    async with running(consumer_for(effects, settings).run):
        await effects_are(effects, [1])
        await eventually(lambda: has_committed(settings, 3))
    assert await dead_letter.entries(settings, GROUP) == []


async def test_too_many_failures_in_a_row_stop_it(
    effects: Effects, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was put aside then, nothing was committed: once the cause is mended, all of it is applied."""
    monkeypatch.setattr("services.chassis.messaging.record_processor.PAUSES", (0.0,) * 5)

    async def fail(_: PersonRenamed) -> None:
        raise ValueError("everything")

    effects.before = fail
    await publish(settings, *(renamed(version=version) for version in range(30)))
    consumer = consumer_for(effects, settings)
    assert await consumer.ready()
    with capture_logs(), pytest.raises(TooManyFailures, match="21 records in a row"):
        async with running(consumer.run) as stop:
            await eventually(lambda: is_not_ready(consumer), timeout=30)
            assert not stop.is_set()
    assert await dead_letter.entries(settings, GROUP) == []
    effects.before = None
    async with running(consumer_for(effects, settings).run):
        await effects_are(effects, list(range(30)))


async def is_not_ready(consumer: Consumer) -> bool:
    return not await consumer.ready()


async def test_redrive(effects: Effects, settings: Settings) -> None:
    """As the original was, to where it came from; applied once; what was applied elsewhere is dropped there."""
    broken = True

    async def fail(event: PersonRenamed) -> None:
        if broken and event.version > 0:
            raise ValueError("not yet")

    effects.before = fail
    sent = await publish(settings, renamed(version=0), renamed(version=1), renamed(version=2), partition=5)
    async with running(consumer_for(effects, settings).run):
        await eventually(lambda: put_aside(settings, 2), timeout=30)
        letters = await dead_letter.entries(settings, GROUP)
        assert [letter.redriven for letter in letters] == [False, False]
        broken = False
        assert await dead_letter.redrive(settings, GROUP, lambda letter: letter.position == 1) == letters[1:]
        await effects_are(effects, [0, 2])
        assert len(await dead_letter.redrive(settings, GROUP)) == 2
        await effects_are(effects, [0, 2, 1])
        assert await dead_letter.redrive(settings, GROUP) == []
        assert [letter.redriven for letter in await dead_letter.entries(settings, GROUP)] == [True, True]
        await publish(settings, renamed(version=3), partition=5)
        await effects_are(effects, [0, 2, 1, 3])
    again = [record for record in await records(settings) if record.partition == 5][3:6]
    assert [(r.key, list(r.headers)) for r in again] == [
        (to_key(envelope), to_headers(envelope)) for envelope in (sent[2], sent[1], sent[2])
    ]
