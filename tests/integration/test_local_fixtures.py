"""The fixtures themselves: real servers, and a scriptable mail server."""

import asyncio
import smtplib
from collections.abc import Callable
from email.message import EmailMessage

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from redis.asyncio import Redis

from tests.conftest import NewDatabase
from tests.smtp_sink import RESET, STALL, SmtpSink


async def test_databases_are_migrated_and_separate(new_database: NewDatabase) -> None:
    first, second = await new_database("services.chassis"), await new_database("services.chassis")
    async with first.transaction() as tx:
        await tx.execute("insert into inbox (source, event_id) values ('/here', gen_random_uuid())")
    async with first.reader() as reader:
        assert await reader.fetchval("select count(*) from inbox") == 1
    async with second.reader() as reader:
        assert await reader.fetchval("select count(*) from inbox") == 0
    assert first.url != second.url


async def test_order_does_not_depend_on_the_host(new_database: NewDatabase) -> None:
    db = await new_database("services.chassis")
    async with db.reader() as reader:
        rows = await reader.fetch("select word from unnest(array['b', 'B', 'a', 'ä', 'Z']) as word order by word")
    assert [row["word"] for row in rows] == ["B", "Z", "a", "b", "ä"]


async def test_valkey_is_empty_at_first(redis_url: str) -> None:
    async with Redis.from_url(redis_url) as client:
        assert await client.dbsize() == 0
        await client.set("left", "behind")


async def test_valkey_is_empty_again(redis_url: str) -> None:
    async with Redis.from_url(redis_url) as client:
        assert await client.dbsize() == 0


async def test_kafka_keeps_what_it_acknowledged(kafka: str, kafka_prefix: str) -> None:
    topic = f"{kafka_prefix}facts"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=kafka, enable_idempotence=True) as producer:
        await producer.send_and_wait(topic, b"it happened")
    async with AIOKafkaConsumer(topic, bootstrap_servers=kafka, auto_offset_reset="earliest") as consumer:
        record = await asyncio.wait_for(consumer.getone(), 10)
    assert record.value == b"it happened"


def deliver(port: int, timeout: float = 5) -> None:
    message = EmailMessage()
    message["Subject"] = "Grüße"
    message.set_content(".a line that begins with a dot\n")
    with smtplib.SMTP("127.0.0.1", port, timeout=timeout) as client:
        client.send_message(message, "from@example.com", ["To@example.com"])


async def test_a_mail_arrives(smtp_sink: SmtpSink) -> None:
    await asyncio.to_thread(deliver, smtp_sink.port)
    [mail] = await smtp_sink.wait_for(1)
    assert (mail.sender, mail.recipients) == ("from@example.com", ["To@example.com"])
    assert mail.message["Subject"] == "Grüße"
    assert mail.text.splitlines() == [".a line that begins with a dot"]
    assert smtp_sink.to("to@EXAMPLE.com") == [mail]
    assert smtp_sink.to("other@example.com") == []


@pytest.mark.parametrize("phase", ["connect", "ehlo", "mail", "rcpt", "data", "dot"])
async def test_a_phase_can_be_refused_once(smtp_sink: SmtpSink, phase: str) -> None:
    smtp_sink.once(phase, "451 4.3.0 later")
    if phase == "ehlo":  # smtplib then tries HELO
        smtp_sink.once(phase, "451 4.3.0 later")
    with pytest.raises(smtplib.SMTPException):
        await asyncio.to_thread(deliver, smtp_sink.port)
    assert smtp_sink.messages == []
    await asyncio.to_thread(deliver, smtp_sink.port)
    assert len(smtp_sink.messages) == 1


@pytest.mark.parametrize("answer", [RESET, STALL])
async def test_the_answer_to_the_dot_can_be_withheld(smtp_sink: SmtpSink, answer: str) -> None:
    smtp_sink.answers["dot"] = answer
    with pytest.raises((smtplib.SMTPServerDisconnected, OSError)):
        await asyncio.to_thread(deliver, smtp_sink.port, 1)
    assert smtp_sink.messages == []
    assert len(smtp_sink.unanswered) == 1


async def test_a_connection_can_break_before_the_dot(smtp_sink: SmtpSink) -> None:
    smtp_sink.answers["body"] = RESET
    with pytest.raises((smtplib.SMTPServerDisconnected, OSError)):
        await asyncio.to_thread(deliver, smtp_sink.port)
    assert smtp_sink.unanswered == smtp_sink.messages == []


def test_ports_are_free_and_different(free_port: Callable[[], int]) -> None:
    assert len({free_port() for _ in range(5)}) == 5
