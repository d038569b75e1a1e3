"""The lag of a group, measured while no consumer of it runs, on a real broker."""

import asyncio

from prometheus_client import REGISTRY

from services.chassis.messaging.lag import LagMeter
from services.chassis.messaging.topics import create_topics
from services.chassis.runtime.settings import Settings
from services.contracts.topics import PEOPLE
from tests.conftest import NewDatabase
from tests.integration.chassis_effects import GROUP, Effects, consumer_for, has_committed, publish
from tests.integration.chassis_harness import renamed_event, running
from tests.waiting import eventually


def value(name: str) -> float | None:
    return REGISTRY.get_sample_value(name, {"group": GROUP, "topic": PEOPLE.name})


async def measured(meter: LagMeter) -> bool:
    """Measure; return whether the broker told: the first to ask a fresh one is refused while it finds a coordinator."""
    await meter.measure()
    return value("rapport_consumer_lag") is not None


async def test_a_group_without_a_consumer_is_behind_until_one_has_handled_all(
    new_database: NewDatabase, kafka: str, kafka_prefix: str
) -> None:
    settings = Settings(kafka_bootstrap_servers=kafka, kafka_prefix=kafka_prefix)
    await create_topics(kafka, kafka_prefix)
    now = [0.0]
    meter = LagMeter({GROUP: [PEOPLE]}, settings, clock=lambda: now[0])
    await eventually(lambda: measured(meter), timeout=30)
    assert (value("rapport_consumer_lag"), value("rapport_consumer_stuck_seconds")) == (0, 0)
    await publish(settings, renamed_event(), renamed_event())
    await meter.measure()
    assert (value("rapport_consumer_lag"), value("rapport_consumer_stuck_seconds")) == (2, 0)
    now[0] = 90.0
    await meter.measure()
    assert (value("rapport_consumer_lag"), value("rapport_consumer_stuck_seconds")) == (2, 90)
    db = await new_database("services.chassis")
    async with db.transaction() as tx:
        await tx.execute(
            "create table effects (id bigint generated always as identity, event_id uuid, person_id uuid, version int)"
        )
    async with running(consumer_for(Effects(db), settings).run):
        await eventually(lambda: has_committed(settings, 2), timeout=30)
    await meter.measure()
    assert (value("rapport_consumer_lag"), value("rapport_consumer_stuck_seconds")) == (0, 0)


async def test_without_a_broker_no_lag_is_told(kafka: str, kafka_prefix: str) -> None:
    settings = Settings(kafka_bootstrap_servers="127.0.0.1:1", kafka_prefix=kafka_prefix)
    await create_topics(kafka, kafka_prefix)
    meter = LagMeter({GROUP: [PEOPLE]}, Settings(kafka_bootstrap_servers=kafka, kafka_prefix=kafka_prefix))
    await eventually(lambda: measured(meter), timeout=30)
    assert (value("rapport_consumer_lag"), REGISTRY.get_sample_value("rapport_consumer_lag_unknown")) == (0, 0)
    await asyncio.wait_for(LagMeter({GROUP: [PEOPLE]}, settings).measure(), 30)
    assert (value("rapport_consumer_lag"), REGISTRY.get_sample_value("rapport_consumer_lag_unknown")) == (None, 1)
