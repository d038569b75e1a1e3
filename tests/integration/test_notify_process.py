"""Notify as a process of its own: an event in Kafka becomes a mail, and a signal ends it in order."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from services.chassis.database.pool import Database
from services.chassis.identity import Signer
from services.chassis.messaging import outbox
from services.chassis.messaging.producer import Producer
from services.chassis.messaging.relay import Relay
from services.chassis.messaging.topics import create_topics
from services.chassis.runtime.settings import Settings
from services.contracts.comments import CommentFact
from services.contracts.topics import COMMENTS, NOTIFY, dead_letter_topic
from tests.conftest import NewDatabase
from tests.integration.chassis_harness import header, records, running
from tests.integration.notify_harness import PACKAGES, FakeComment, NotifyHarness
from tests.integration.notify_upstreams import address, serving_upstreams
from tests.smtp_sink import SmtpSink
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]


async def publish(database: Database, *events: CommentFact) -> None:
    """Put facts into the outbox of a database that stands for comments."""
    async with database.transaction() as tx:
        for event in events:
            await outbox.add(tx, event)


@asynccontextmanager
async def notify(role: str, environment: dict[str, str], log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.notify", role, cwd=ROOT, env=environment, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_an_event_becomes_a_mail_and_a_signal_ends_the_process(
    new_database: NewDatabase,
    kafka: str,
    kafka_prefix: str,
    keys: dict[str, str],
    smtp_sink: SmtpSink,
    free_port: Callable[[], int],
    tmp_path: Path,
) -> None:
    own, comments = await new_database(*PACKAGES), await new_database("services.chassis")
    settings = Settings(kafka_bootstrap_servers=kafka, kafka_prefix=kafka_prefix)
    await create_topics(kafka, kafka_prefix)
    async with serving_upstreams(keys) as (fake, upstreams):
        url = f"http://{upstreams._people._origin.authority}"
        port, metrics_port = free_port(), free_port()
        environment = {
            "PATH": "/usr/bin:/bin",
            "NOTIFY_DATABASE_URL": own.url,
            "NOTIFY_PORT": str(port),
            "NOTIFY_METRICS_PORT": str(metrics_port),
            "NOTIFY_SETTLE_SECONDS": "0",
            "KAFKA_BOOTSTRAP_SERVERS": kafka,
            "KAFKA_PREFIX": kafka_prefix,
            "SMTP_PORT": str(smtp_sink.port),
            "MAIL_FROM": "Rapport <n@rapport.test>",
            **{f"{name}_URL": url for name in ("PEOPLE", "COMMENTS", "POSTS")},
            **keys,
        }
        log = tmp_path / "notify.log"
        async with notify("migrate", environment, log) as migrating:
            assert await migrating.wait() == 0, log.read_text()
        async with notify("all", environment, log) as process, aiohttp.ClientSession() as http:

            async def answers(path: str) -> str:
                assert process.returncode is None, log.read_text()
                try:
                    async with http.get(f"http://127.0.0.1:{metrics_port}{path}") as answer:
                        return await answer.text() if answer.status == 200 else ""
                except aiohttp.ClientError:
                    return ""

            await eventually(lambda: answers("/readyz"), timeout=30)
            async with running(Relay(comments, comments.url, Producer(settings), settings).run):
                comment = FakeComment()
                fake.add(comment)
                await publish(comments, comment.posted, comment.changed_to("visible").edited)
                await smtp_sink.wait_for(2, timeout=30)
                harness = NotifyHarness(own)
                await eventually(lambda: harness.value("select bool_and(state = 'sent') from notifications"))
            assert {mail.recipients[0] for mail in smtp_sink.messages} == {
                address(comment.parent_author_id),
                address(comment.post_author_id),
            }
            await eventually(lambda: harness.value("select bool_and(published_at is not null) from outbox"))
            told = await records(settings, NOTIFY)
            assert {header(record, "ce_type") for record in told} == {"dev.rapport.notify.sent.v1"}
            posted = await comments_event(comments)
            assert {header(record, "ce_causationid") for record in told} == {posted}
            assert 'rapport_mail_ended_total{service="notify",state="sent",why=""} 2.0' in await answers("/metrics")
            token = Signer(keys["GATEWAY_SIGNING_KEY"], "gateway").token("notify", comment.parent_author_id)
            headers = {"Authorization": f"Bearer {token}"}
            async with http.get(f"http://127.0.0.1:{port}/me/notifications", headers=headers) as answer:
                assert [item["state"] for item in (await answer.json())["items"]] == ["sent"]
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 20) == 0, log.read_text()


async def comments_event(database: Database) -> str:
    async with database.reader() as reader:
        return str(await reader.fetchval("select event_id from outbox order by id limit 1"))


async def test_garbage_stops_a_partition_and_api_mailer_and_the_other_partitions_go_on(
    new_database: NewDatabase,
    kafka: str,
    kafka_prefix: str,
    keys: dict[str, str],
    smtp_sink: SmtpSink,
    free_port: Callable[[], int],
    tmp_path: Path,
) -> None:
    """All roles in one process, killed and started again twice; an operator leads out through the API."""
    own, comments = await new_database(*PACKAGES), await new_database("services.chassis")
    settings = Settings(kafka_bootstrap_servers=kafka, kafka_prefix=kafka_prefix)
    await create_topics(kafka, kafka_prefix)
    async with serving_upstreams(keys) as (fake, upstreams), aiohttp.ClientSession() as http:
        url = f"http://{upstreams._people._origin.authority}"
        port, metrics_port = free_port(), free_port()
        environment = {
            "PATH": "/usr/bin:/bin",
            "NOTIFY_DATABASE_URL": own.url,
            "NOTIFY_PORT": str(port),
            "NOTIFY_METRICS_PORT": str(metrics_port),
            "NOTIFY_SETTLE_SECONDS": "0",
            "KAFKA_BOOTSTRAP_SERVERS": kafka,
            "KAFKA_PREFIX": kafka_prefix,
            "SMTP_PORT": str(smtp_sink.port),
            "MAIL_FROM": "Rapport <n@rapport.test>",
            **{f"{name}_URL": url for name in ("PEOPLE", "COMMENTS", "POSTS")},
            **keys,
        }
        first = FakeComment()
        fake.add(first)
        async with running(Relay(comments, comments.url, Producer(settings), settings).run):
            await publish(comments, first.posted)
            await eventually(lambda: records(settings, COMMENTS))
        [good] = {record.partition for record in await records(settings, COMMENTS)}
        bad = (good + 1) % COMMENTS.partitions
        producer = Producer(settings)
        for number in range(60):
            await producer.send_record(kafka_prefix + COMMENTS.name, bad, None, b"garbage %d" % number, [])
        await producer.close()

        async def ask(method: str, path: str, body: dict[str, object] | None = None) -> Any:
            token = Signer(keys["OPERATOR_SIGNING_KEY"], "operator").token("notify")
            headers = {"Authorization": f"Bearer {token}"}
            try:
                async with http.request(method, f"http://127.0.0.1:{port}{path}", headers=headers, json=body) as answer:
                    return await answer.json()
            except aiohttp.ClientError:
                return {}

        async def stands_stopped() -> bool:
            found = (await ask("GET", "/consumer")).get("partitions")
            return bool(found) and {"state": "stopped", "next_offset": 0, "lag": 60}.items() <= found[bad].items()

        log = tmp_path / "notify.log"
        async with notify("migrate", environment, log) as migrating:
            assert await migrating.wait() == 0, log.read_text()
        for round in range(3):
            comment = first if round == 0 else FakeComment(post_id=first.post_id)
            async with notify("all", environment, log) as process:
                await eventually(stands_stopped, timeout=40)
                if round:
                    fake.add(comment)
                    async with running(Relay(comments, comments.url, Producer(settings), settings).run):
                        await publish(comments, comment.posted)
                        await smtp_sink.wait_for(2 * (round + 1), timeout=30)
                else:
                    await smtp_sink.wait_for(2, timeout=30)
                async with http.get(f"http://127.0.0.1:{metrics_port}/readyz") as answer:
                    assert answer.status == 200, await answer.text()
                async with http.get(f"http://127.0.0.1:{metrics_port}/metrics") as answer:
                    stopped = "rapport_consumer_partition_stopped"
                    labels = f'group="notify",partition="{{}}",service="notify",topic="{COMMENTS.name}"'
                    lines = (await answer.text()).splitlines()
                    assert f"{stopped}{{{labels.format(bad)}}} 1.0" in lines
                    assert f"{stopped}{{{labels.format(good)}}} 0.0" in lines
                assert await records(settings, dead_letter_topic("notify")) == []
                assert process.returncode is None, log.read_text()
                if round == 2:
                    range_ = {"topic": COMMENTS.name, "partition": bad, "first": 0, "last": 59}
                    wrong = await ask("POST", "/consumer/skip", range_ | {"first": 1})
                    assert (wrong["status"], wrong["type"]) == (409, "/problems/wrong-state")
                    assert "stands at 0" in wrong["detail"]
                    assert await ask("POST", "/consumer/skip", range_) == {"count": 60}

                    async def is_led_out() -> bool:
                        found = (await ask("GET", "/consumer"))["partitions"][bad]
                        return bool(found["state"] == "running" and found["lag"] == 0)

                    await eventually(is_led_out, timeout=30)
                    assert len(await records(settings, dead_letter_topic("notify"))) == 60
