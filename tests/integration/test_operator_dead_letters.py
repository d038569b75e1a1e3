"""The dead-letter commands with a real broker."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiokafka.structs import ConsumerRecord
from typer.testing import CliRunner, Result

from services.chassis.messaging import dead_letter
from services.chassis.messaging.producer import Producer
from services.chassis.messaging.topics import create_topics
from services.chassis.runtime.settings import Settings
from services.contracts.topics import POSTS
from services.operator.commands.dead_letter import app
from services.operator.dead_letters import read
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


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Awaitable[Result]]:
    monkeypatch.setenv("RAPPORT_HOME", str(tmp_path))  # not that of a stack that runs beside the tests
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", settings.kafka_bootstrap_servers)
    monkeypatch.setenv("KAFKA_PREFIX", settings.kafka_prefix)
    monkeypatch.setenv("OPERATOR_SIGNING_KEY", "{}")
    monkeypatch.setenv("COLUMNS", "80")

    async def command(*arguments: str) -> Result:
        return await asyncio.to_thread(lambda: CliRunner().invoke(app, arguments))

    return command


Run = Callable[..., Awaitable[Result]]


async def values(settings: Settings) -> Counter[str]:
    found: list[ConsumerRecord[bytes, bytes]] = await records(settings, POSTS)
    return Counter((record.value or b"").decode() for record in found)


async def test_dead_letters_are_listed_whole(settings: Settings, run: Run) -> None:
    assert (await run("list", "notify")).output == "notify has no dead letters.\n"
    await put_aside(settings, "one", "two" * 100)
    listed = (await run("list", "notify")).stdout
    for part in ("[red]one[/red]", f"ValueError: [b]{'two' * 100}\n", "posts.events/3@1\n", "attempts  5\n"):
        assert part in listed
    shown = (await run("show", "notify", "--position", "1")).stdout
    assert f"payload   {'two' * 100}\n" in shown
    assert "[red]one" not in shown
    one, two = json.loads((await run("list", "notify", "--json")).stdout)["letters"]
    assert (one["position"], one["state"], one["payload"], one["key"]) == (0, "waiting", "one", "k")
    assert two["headers"] == [{"name": "ce_type", "value": f"[red]{'two' * 100}[/red]"}]
    assert one["first"] == one["last"]


async def test_what_is_shown_does_not_act_on_the_terminal(settings: Settings, run: Run) -> None:
    await put_aside(settings, "\x1b[2Jgone\n9  waiting")
    shown = (await run("show", "notify")).stdout
    assert "\x1b" not in shown
    assert "\\x1b[2Jgone\\n9" in shown


async def test_waiting_dead_letters_are_sent_again_once(settings: Settings, run: Run) -> None:
    await put_aside(settings, "one", "two")
    would = await run("redrive", "notify", "--dry-run")
    assert would.stdout == "2 dead letters of notify would be sent again (position 0, 1).\n"
    assert await values(settings) == {}
    for count in (2, 0):
        assert (await run("redrive", "notify")).stdout == f"{count} dead letters of notify sent again.\n"
    assert await values(settings) == {"one": 1, "two": 1}
    assert (await run("list", "notify")).stdout.count("redriven, sent again 1 time") == 2


async def test_a_chosen_dead_letter_is_sent_again_every_time(settings: Settings, run: Run) -> None:
    await put_aside(settings, "one", "two")
    for _ in range(2):
        sent = await run("redrive", "notify", "--position", "1")
        assert sent.stdout == "1 dead letter of notify sent again.\n"
    assert await values(settings) == {"two": 2}
    missing = await run("redrive", "notify", "--position", "9", "--position", "1", "--position", "7")
    assert isinstance(missing.exception, Failed)
    assert "position 7, 9" in str(missing.exception)
    assert await values(settings) == {"two": 2}


async def test_dropped_dead_letters_are_listed_with_all_only(settings: Settings, run: Run) -> None:
    await put_aside(settings, "one", "two", "three")
    assert (await run("drop", "notify")).exit_code == 2
    assert (await run("drop", "notify", "--position", "1", "--dry-run")).stdout.endswith("dropped (position 1).\n")
    assert len(json.loads((await run("list", "notify", "--json")).stdout)["letters"]) == 3
    assert (await run("drop", "notify", "--position", "1")).stdout == "1 dead letter of notify dropped.\n"
    assert (await run("redrive", "notify", "--position", "0")).exit_code == 0
    assert (await run("drop", "notify", "--redriven")).stdout == "1 dead letter of notify dropped.\n"
    left = json.loads((await run("list", "notify", "--json")).stdout)["letters"]
    assert [one["position"] for one in left] == [2]
    every = json.loads((await run("list", "notify", "--json", "--all")).stdout)["letters"]
    assert [one["state"] for one in every] == ["dropped", "dropped", "waiting"]


async def test_an_unknown_group_is_named(run: Run) -> None:
    refused = await run("list", "people")
    assert isinstance(refused.exception, Failed)
    assert "'people'; the groups are posts, comments, notify" in str(refused.exception)


async def test_an_unreachable_broker_is_named() -> None:
    away = Settings(kafka_bootstrap_servers="127.0.0.1:9")
    with pytest.raises(Failed, match=r"Kafka at 127\.0\.0\.1:9 does not answer: check KAFKA_BOOTSTRAP") as failed:
        await read(away, "notify")
    assert "AddressFamily" not in str(failed.value)
