"""Every alarm rings at its real fault, in a real Prometheus, and stops after the mend. Durations are shorter there."""

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from aiokafka import AIOKafkaProducer

from services.contracts.topics import POSTS
from tests import smtp_sink as smtp
from tests.client import Client, Person
from tests.e2e.test_operator_command import rapport
from tests.installed import running_program
from tests.prometheus import RULES, Prometheus, quickened
from tests.servers import PrivateServers
from tests.smtp_sink import SmtpSink
from tests.stack import Stack
from tests.waiting import eventually

RING_SECONDS = 60
GARBAGE = 3  # a partition


@dataclass
class Watched:
    """A system of its own, whose servers and processes are stopped, and the Prometheus that watches it."""

    stack: Stack
    servers: PrivateServers
    sink: SmtpSink
    client: Client
    ada: Person
    ben: Person
    prometheus: Prometheus
    post_id: str = ""
    questions: int = 0

    async def restart(self, service: str, role: str) -> None:
        await self.stack.start(service, role)
        self.prometheus.follow()

    async def rings(self, alarm: str, **labels: str) -> None:
        """Wait until an alarm rings."""
        await self._until(True, alarm, labels)

    async def stops(self, alarm: str, **labels: str) -> None:
        """Wait until an alarm has stopped."""
        await self._until(False, alarm, labels)

    async def _until(self, wanted: bool, alarm: str, labels: dict[str, str]) -> None:
        async def is_so() -> bool:
            return await self.prometheus.rings(alarm, **labels) is wanted

        await eventually(is_so, timeout=RING_SECONDS, pause=0.2)

    async def answer_ben(self) -> None:
        """Let Ada answer Ben, who gets a mail about it."""
        self.questions += 1  # equal texts are one comment
        question = await self.client.comment(self.ben, self.post_id, f"Question {self.questions}")
        await self.client.comment(self.ada, self.post_id, f"Answer {self.questions}", parent_id=question["id"])

    async def garbage(self, count: int) -> None:
        """Write records that nobody can handle to one partition that comments reads."""
        producer = AIOKafkaProducer(bootstrap_servers=self.servers.kafka)
        await producer.start()
        try:
            for _ in range(count):
                await producer.send_and_wait(f"{self.stack.name}.{POSTS.name}", b"garbage", partition=GARBAGE)
        finally:
            await producer.stop()

    async def partition(self) -> dict[str, Any]:
        """Return what an operator sees of that partition."""
        told = json.loads((await rapport(self.stack, "consumer", "status", "comments", "--json")).out)
        return next(each for each in told["partitions"] if each["partition"] == GARBAGE)


@pytest.fixture(scope="module")
async def watched(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Watched]:
    servers = PrivateServers(tmp_path_factory.mktemp("servers"), durable=False)
    folder = tmp_path_factory.mktemp("alarms")
    try:
        async with smtp.listening() as sink:
            stack = Stack(servers, folder, sink.port, "alarms", overrides={"RATE_LIMITS": "on"})
            parts = stack.parts
            prometheus = Prometheus(tmp_path_factory.mktemp("prometheus"), lambda: list(parts.values()))
            try:
                await stack.prepare()
                await stack.up("posts", "notify")
                with running_program(prometheus):
                    async with Client(stack.url, sink) as client:
                        ada = await client.sign_in("Ada Admin", "admin@example.com")
                        ben = await client.sign_in("Ben", "ben@example.com")
                        found = Watched(stack, servers, sink, client, ada, ben, prometheus)
                        found.post_id = (await client.publish(ada, "Watched"))["id"]

                        async def all_are_scraped() -> bool:
                            return await prometheus.scraped() == len(parts)

                        await eventually(all_are_scraped, timeout=30)
                        yield found
            finally:
                stack.down()
                await stack.drop()
    finally:
        servers.stop()


async def test_nothing_rings_without_a_fault(watched: Watched) -> None:
    await watched.answer_ben()
    await watched.sink.wait_for(3)  # two sign-in mails before it

    async def all_is_quiet() -> bool:
        return await watched.prometheus.alarms() == []

    await eventually(all_is_quiet, timeout=RING_SECONDS)


async def test_a_mail_server_that_is_away(watched: Watched) -> None:
    async with watched.sink.gone():
        await watched.answer_ben()
        await watched.rings("RapportMailServerUnusable")
    await watched.stops("RapportMailServerUnusable")


async def test_garbage_makes_dead_letters_and_much_of_it_stops_a_partition(watched: Watched) -> None:
    await watched.garbage(1)
    await watched.rings("RapportDeadLetters", group="comments", cause="undecodable")
    await watched.stops("RapportDeadLetters", group="comments", cause="undecodable")

    stopped = {"group": "comments", "topic": POSTS.name, "partition": str(GARBAGE)}
    await watched.garbage(30)
    await watched.rings("RapportPartitionStopped", **stopped)
    seen = await watched.partition()
    place = ("comments", POSTS.name, str(GARBAGE), f"{seen['next_offset']}..{seen['end'] - 1}")
    assert (await rapport(watched.stack, "consumer", "skip", *place)).status == 0
    await watched.stops("RapportPartitionStopped", **stopped)


async def test_a_relay_that_is_stopped(watched: Watched) -> None:
    watched.stack.part("posts", "relay").stop()
    await watched.rings("RapportRelayMissing", service="posts")
    await watched.restart("posts", "relay")
    await watched.stops("RapportRelayMissing", service="posts")


async def test_a_service_that_is_killed(watched: Watched) -> None:
    watched.stack.part("people").kill()
    await watched.rings("RapportServiceMissing", service="people")
    await watched.restart("people", "all")
    await watched.stops("RapportServiceMissing", service="people")


async def test_valkey_stopped(watched: Watched) -> None:
    watched.servers.valkey.stop()
    await watched.rings("RapportValkeyAway")
    watched.servers.valkey.start()
    await watched.stops("RapportValkeyAway")


async def test_a_consumer_that_is_stopped(watched: Watched) -> None:
    watched.stack.part("notify", "consumer").stop()
    await watched.answer_ben()
    await watched.rings("RapportConsumerStuck", group="notify", topic="comments.events")
    await watched.restart("notify", "consumer")
    await watched.stops("RapportConsumerStuck", group="notify", topic="comments.events")


async def test_kafka_stopped(watched: Watched) -> None:
    watched.servers.broker.stop()
    await watched.answer_ben()
    await watched.rings("RapportGatewayDeaf")
    await watched.rings("RapportEventsWait", service="comments")
    watched.servers.broker.start()
    await watched.stops("RapportGatewayDeaf")
    await watched.stops("RapportEventsWait", service="comments")


def test_the_copy_of_the_rules_differs_in_durations_only() -> None:
    kept, quick = yaml.safe_load(RULES.read_text()), quickened(yaml.safe_load(RULES.read_text()))
    for rule, copy in zip(kept["groups"][0]["rules"], quick["groups"][0]["rules"], strict=True):
        assert re.sub(r"\d+(\.\d+)?", "N", rule["expr"]).replace("Nm", "Ns") == re.sub(
            r"\d+(\.\d+)?", "N", copy["expr"]
        ).replace("Nm", "Ns")
        assert rule | {"for": "", "expr": ""} == copy | {"for": "", "expr": ""}
