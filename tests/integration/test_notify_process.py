"""Notify as a process of its own: an event in Kafka becomes a mail, and a signal ends it in order."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from services.chassis.database.pool import Database
from services.chassis.identity import Signer
from services.chassis.messaging import outbox
from services.chassis.messaging.producer import Producer
from services.chassis.messaging.relay import Relay
from services.chassis.messaging.topics import create_topics
from services.chassis.runtime.settings import Settings
from services.contracts.comments import CommentFact
from services.contracts.topics import NOTIFY
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
            assert 'rapport_mail_ended_total{state="sent",why=""} 2.0' in await answers("/metrics")
            token = Signer(keys["GATEWAY_SIGNING_KEY"], "gateway").token("notify", comment.parent_author_id)
            headers = {"Authorization": f"Bearer {token}"}
            async with http.get(f"http://127.0.0.1:{port}/me/notifications", headers=headers) as answer:
                assert [item["state"] for item in (await answer.json())["items"]] == ["sent"]
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 20) == 0, log.read_text()


async def comments_event(database: Database) -> str:
    async with database.reader() as reader:
        return str(await reader.fetchval("select event_id from outbox order by id limit 1"))
