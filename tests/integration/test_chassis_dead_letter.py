"""Dead letters: which records become dead letters, when, and how they are redriven."""

from collections.abc import Callable
from typing import cast

import pytest

from services.chassis.errors import unavailable
from services.chassis.messaging import dead_letter
from services.chassis.messaging.cloudevents import Headers, to_headers, to_key
from services.chassis.messaging.producer import Producer
from services.chassis.messaging.topics import create_topics
from services.chassis.runtime.settings import Settings
from services.contracts.people import PersonConfirmed, PersonRenamed
from services.contracts.topics import PEOPLE, dead_letter_topic
from tests.conftest import NewDatabase, OwnDatabase
from tests.integration.chassis_effects import (
    GROUP,
    Effects,
    committed,
    consumer_for,
    effects_are,
    has_committed,
    has_dead_letters,
    publish,
    send,
)
from tests.integration.chassis_harness import envelope_of, records, renamed_event, running
from tests.waiting import eventually


@pytest.fixture
def settings(kafka: str, kafka_prefix: str) -> Settings:
    return Settings(kafka_bootstrap_servers=kafka, kafka_prefix=kafka_prefix)


@pytest.fixture
async def db(new_database: NewDatabase) -> OwnDatabase:
    db = await new_database("services.chassis")
    async with db.transaction() as tx:
        await tx.execute(
            "create table effects (id bigint generated always as identity, event_id uuid, person_id uuid, version int)"
        )
    return db


@pytest.fixture
def effects(db: OwnDatabase) -> Effects:
    return Effects(db)


async def test_failing_record_does_not_fail_others(effects: Effects, settings: Settings) -> None:
    """One of 60 fails for ever: a dead letter after five attempts; the others have their effects in order."""

    async def fail(event: PersonRenamed) -> None:
        if event.version == 13:
            raise ValueError("thirteen")

    effects.before = fail
    await publish(settings, *(renamed_event(version=version) for version in range(60)))
    async with running(consumer_for(effects, settings).run):
        await effects_are(effects, [version for version in range(60) if version != 13], timeout=30)
    [letter] = await dead_letter.entries(settings, GROUP)
    assert (letter.topic, letter.partition, letter.attempts) == (PEOPLE.name, 0, 5)
    assert letter.error == "ValueError: thirteen"
    assert letter.type == PersonRenamed.type
    assert await committed(settings) == 60


async def test_transient_failures_are_retried_without_limit(effects: Effects, settings: Settings) -> None:
    """More than five attempts and no dead letter."""
    tries = 0

    async def away(_: PersonRenamed) -> None:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise unavailable("away")
        if tries < 6:
            raise TimeoutError

    effects.before = away
    await publish(settings, renamed_event(version=1))
    async with running(consumer_for(effects, settings).run):
        await effects_are(effects, [1], timeout=30)
    assert tries == 6
    assert await dead_letter.entries(settings, GROUP) == []


POISON: dict[str, tuple[bytes | None, bytes | None, Callable[[Headers], Headers]]] = {
    "no headers": (None, b"{}", lambda _: []),
    "another specversion": (None, None, lambda h: [("ce_specversion", b"0.3"), *h[1:]]),
    "no id": (None, None, lambda h: [entry for entry in h if entry[0] != "ce_id"]),
    "an invalid id": (None, None, lambda h: [(n, b"7" if n == "ce_id" else v) for n, v in h]),
    "an invalid time": (None, None, lambda h: [(n, b"noon" if n == "ce_time" else v) for n, v in h]),
    "not UTF-8": (None, None, lambda h: [(n, b"\xff" if n == "ce_source" else v) for n, v in h]),
    "an invalid key": (b"key", None, lambda h: h),
    "not JSON": (None, b"{", lambda h: h),
    "another shape": (None, b'{"person_id": 7}', lambda h: h),
    "an avro body": (None, None, lambda h: [(n, b"avro/binary" if n == "content-type" else v) for n, v in h]),
}


async def test_undecodable_record_is_a_dead_letter_at_once(effects: Effects, settings: Settings) -> None:
    """Ten kinds of poison between good records: all good ones have effects, ten dead letters keep all headers."""
    producer = Producer(settings)
    sent = []
    for number, (key, value, change) in enumerate(POISON.values()):
        good, bad = envelope_of(renamed_event(version=number)), envelope_of(renamed_event(version=1000 + number))
        await send(settings, to_key(good), good.data, to_headers(good), producer=producer)
        headers = change(to_headers(bad))
        await send(settings, key or to_key(bad), value or bad.data, headers, producer=producer)
        sent.append((key or to_key(bad), value or bad.data, headers))
    await producer.close()
    async with running(consumer_for(effects, settings).run):
        await effects_are(effects, list(range(len(POISON))), timeout=30)
        await eventually(lambda: has_dead_letters(settings, len(POISON)))
    letters = await dead_letter.entries(settings, GROUP)
    assert [(letter.key, letter.value, letter.headers) for letter in letters] == sent
    assert [letter.offset for letter in letters] == list(range(1, 2 * len(POISON), 2))
    assert {letter.attempts for letter in letters} == {0}
    assert all(letter.error.startswith("Undecodable: ") for letter in letters)


async def test_unknown_and_unhandled_types_are_skipped(effects: Effects, settings: Settings) -> None:
    for name in ("dev.rapport.people.promoted.v1", PersonConfirmed.type):
        envelope = envelope_of(renamed_event(), type=name, data=b"whatever")
        await send(settings, to_key(envelope), envelope.data, to_headers(envelope))
    await publish(settings, renamed_event(version=1))
    async with running(consumer_for(effects, settings).run):
        await effects_are(effects, [1])
        await eventually(lambda: has_committed(settings, 3))
    assert await dead_letter.entries(settings, GROUP) == []


async def test_redrive_publishes_the_original_record(effects: Effects, settings: Settings) -> None:
    """On its original partition; it has one effect, and is dropped where it was handled before."""
    broken = True

    async def fail(event: PersonRenamed) -> None:
        if broken and event.version > 0:
            raise ValueError("not yet")

    effects.before = fail
    sent = await publish(
        settings, renamed_event(version=0), renamed_event(version=1), renamed_event(version=2), partition=5
    )
    async with running(consumer_for(effects, settings).run):
        await eventually(lambda: has_dead_letters(settings, 2), timeout=30)
        letters = await dead_letter.entries(settings, GROUP)
        assert [letter.redriven for letter in letters] == [False, False]
        broken = False
        await dead_letter.redrive(settings, GROUP, letters[1:])
        await effects_are(effects, [0, 2])
        await dead_letter.redrive(settings, GROUP, letters[:1])
        await effects_are(effects, [0, 2, 1])
        assert [letter.redriven for letter in await dead_letter.entries(settings, GROUP)] == [True, True]
        await publish(settings, renamed_event(version=3), partition=5)
        await effects_are(effects, [0, 2, 1, 3])
    again = [record for record in await records(settings) if record.partition == 5][3:5]
    assert [(r.key, list(r.headers)) for r in again] == [
        (to_key(sent[2]), [*to_headers(sent[2]), ("dlq_origin", b"5@2")]),
        (to_key(sent[1]), [*to_headers(sent[1]), ("dlq_origin", b"5@1")]),
    ]


async def test_three_letters_that_fail_again_stay_three(effects: Effects, settings: Settings) -> None:
    """Known by their event, or by their first place where there is no readable id; a drop counts until then."""

    async def fail(_: PersonRenamed) -> None:
        raise ValueError("never")

    effects.before = fail
    await publish(settings, renamed_event(version=1), renamed_event(version=2))
    await send(settings, b"key", b"{", [("ce_type", PersonRenamed.type.encode())])

    async def waiting(times: int) -> bool:
        found = await dead_letter.entries(settings, GROUP)
        return [(one.state, len(one.positions)) for one in found] == [("waiting", times)] * 3

    async with running(consumer_for(effects, settings).run):
        for times in (1, 2, 3):
            await eventually(lambda: waiting(times), timeout=30)  # noqa: B023  # awaited here
            before = await dead_letter.entries(settings, GROUP)
            if times < 3:
                await dead_letter.redrive(settings, GROUP, before)
    assert [(one.redrives, one.offset) for one in before] == [(2, 0), (2, 1), (2, 2)]
    assert all(one.first < one.last for one in before)
    await dead_letter.drop(settings, GROUP, before[:2])
    left = await dead_letter.entries(settings, GROUP)
    assert [one.state for one in left] == ["dropped", "dropped", "waiting"]


async def test_a_record_that_is_no_dead_letter_does_not_hide_the_others(settings: Settings) -> None:
    await create_topics(settings.kafka_bootstrap_servers, settings.kafka_prefix)
    producer = Producer(settings)
    try:
        name = settings.kafka_prefix + dead_letter_topic(GROUP).name
        await producer.send_record(name, 0, None, b"?", [("dlq_partition", b"many")])
        await producer.send_record(name, 0, None, b"?", [("dlq_mark", b"dropped")])
        names = ("ce_source", "ce_id", "ce_type", "dlq_mark", "dlq_partition")
        await producer.send_record(name, 0, None, b"?", cast(Headers, [(each, None) for each in names]))
    finally:
        await producer.close()
    letters = await dead_letter.entries(settings, GROUP)
    assert [(letter.position, letter.can_be_sent, letter.type) for letter in letters] == [
        (0, False, "?"),
        (2, False, "?"),
    ]
    await dead_letter.redrive(settings, GROUP, letters)
    assert [one.state for one in await dead_letter.entries(settings, GROUP)] == ["waiting", "waiting"]
