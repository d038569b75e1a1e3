"""The dead-letter commands with a real broker."""

from collections import Counter
from dataclasses import dataclass
from io import StringIO

import pytest
from aiokafka.structs import ConsumerRecord
from rich.console import Console

from services.chassis.messaging import dead_letter
from services.chassis.messaging.producer import Producer
from services.chassis.messaging.topics import create_topics
from services.chassis.runtime.settings import Settings
from services.contracts.topics import POSTS
from services.operator.dead_letters import send_again, show
from services.operator.failures import Failed
from tests.integration.chassis_harness import records


@pytest.fixture
async def settings(kafka: str, kafka_prefix: str) -> Settings:
    await create_topics(kafka, kafka_prefix)
    return Settings(kafka_bootstrap_servers=kafka, kafka_prefix=kafka_prefix)


@dataclass(frozen=True)
class Seen:
    """A consumed record with the fields that a dead letter needs."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


async def put_aside(settings: Settings, *values: str) -> None:
    producer = Producer(settings)
    try:
        for offset, value in enumerate(values):
            headers = [("ce_type", f"[red]{value}[/red]".encode())]
            record = Seen(settings.kafka_prefix + POSTS.name, 3, offset, b"k", value.encode(), headers)
            await dead_letter.publish(producer, "notify", settings.kafka_prefix, record, ValueError(f"[b]{value}"), 5)
    finally:
        await producer.close()


async def shown(settings: Settings) -> str:
    out = StringIO()
    await show(settings, "notify", Console(file=out, width=300))
    return out.getvalue()


async def values(settings: Settings) -> Counter[str]:
    found: list[ConsumerRecord[bytes, bytes]] = await records(settings, POSTS)
    return Counter((record.value or b"").decode() for record in found)


async def test_dead_letters_are_listed(settings: Settings) -> None:
    assert await shown(settings) == "notify has no dead letters.\n"
    await put_aside(settings, "one", "two")
    text = await shown(settings)
    for part in ("[red]one[/red]", "ValueError: [b]two", "posts.events/3@1", " 5 ", " no "):
        assert part in text


async def test_waiting_dead_letters_are_sent_again_once(settings: Settings) -> None:
    await put_aside(settings, "one", "two")
    out = StringIO()
    await send_again(settings, "notify", [], Console(file=out, width=100))
    await send_again(settings, "notify", [], Console(file=out, width=100))
    assert out.getvalue() == "2 dead letters of notify sent again.\n0 dead letters of notify sent again.\n"
    assert await values(settings) == {"one": 1, "two": 1}
    assert (await shown(settings)).count(" yes ") == 2


async def test_a_chosen_dead_letter_is_sent_again_every_time(settings: Settings) -> None:
    await put_aside(settings, "one", "two")
    out = StringIO()
    for _ in range(2):
        await send_again(settings, "notify", [1], Console(file=out, width=100))
    assert out.getvalue() == "1 dead letter of notify sent again.\n" * 2
    assert await values(settings) == {"two": 2}
    with pytest.raises(Failed, match="position 7, 9"):
        await send_again(settings, "notify", [9, 1, 7], Console(file=out))
    assert await values(settings) == {"two": 2}


async def test_an_unknown_group_is_named(settings: Settings) -> None:
    for doing in (show(settings, "posts", Console()), send_again(settings, "posts", [], Console())):
        with pytest.raises(Failed, match="'posts'; there are comments and notify"):
            await doing


async def test_an_unreachable_broker_is_named() -> None:
    away = Settings(kafka_bootstrap_servers="127.0.0.1:9")
    for doing in (show(away, "notify", Console()), send_again(away, "notify", [], Console())):
        with pytest.raises(
            Failed, match=r"Kafka at 127\.0\.0\.1:9 does not answer: check KAFKA_BOOTSTRAP_SERVERS"
        ) as failed:
            await doing
        assert "AddressFamily" not in str(failed.value)
