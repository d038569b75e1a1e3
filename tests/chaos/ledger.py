"""The ledger: what clients were told, against everything that is written down anywhere.

Every operation of a client is sorted into ok, failed or unknown. After the faults are over and all has come to rest,
the ledger reads the services' tables, all of Kafka and every mail that arrived, and counts what must not be.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal
from uuid import UUID

import asyncpg
import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from services.chassis.bus import from_record
from services.contracts.event import Envelope
from services.contracts.topics import PARTITIONS
from tests.smtp_sink import SmtpSink
from tests.stack import Stack
from tests.waiting import eventually


@dataclass
class Operation:
    """One thing a client wanted: `text` is unique and finds the row again whatever the answer was."""

    text: str
    kind: Literal["comment", "edit", "remove"] = "comment"
    outcome: Literal["ok", "failed", "unknown"] = "unknown"
    comment_id: str | None = None
    attempts: int = 0


@dataclass(frozen=True)
class Findings:
    """What was counted. Everything but the two `raw_` figures and `duplicate_mails` must be 0.

    Attributes:
        lost: acknowledged operations without their row, event or mail.
        phantom: rows of operations that were refused.
        orphan_rows: versions of a comment without their event.
        orphan_events: events, in the outbox or in Kafka, without their row.
        unpublished: events that never left the outbox.
        duplicate_effects: more than one row for one operation, or a notification more than once.
        inversions: first occurrences of one subject's events that stand in the wrong order, and applied state that
            is older than the owner's.
        raw_duplicates: records in Kafka beyond the first of their id.
        duplicate_mails: mails beyond the first of one Message-ID.
        altered_duplicates: such mails that are not the same to the byte.
        stray_mails: mails for which no notification was sent.
    """

    operations: int
    lost: int = 0
    phantom: int = 0
    orphan_rows: int = 0
    orphan_events: int = 0
    unpublished: int = 0
    duplicate_effects: int = 0
    inversions: int = 0
    raw_duplicates: int = 0
    raw_records: int = 0
    duplicate_mails: int = 0
    altered_duplicates: int = 0
    stray_mails: int = 0

    TOLERATED: ClassVar = ("operations", "raw_duplicates", "raw_records", "duplicate_mails")

    def wrong(self) -> dict[str, int]:
        """The figures that are not 0 although they must be."""
        return {
            item.name: getattr(self, item.name)
            for item in fields(self)
            if item.name not in self.TOLERATED and getattr(self, item.name)
        }


@dataclass
class Ledger:
    """All operations of one test, and the count at its end."""

    stack: Stack
    sink: SmtpSink
    operations: list[Operation] = field(default_factory=list)

    def intend(self, text: str, kind: Literal["comment", "edit", "remove"] = "comment") -> Operation:
        operation = Operation(text, kind)
        self.operations.append(operation)
        return operation

    async def rest(self, timeout: float = 120) -> None:
        """Wait until nothing is under way: no unpublished event, no unhandled one, no waiting mail."""

        async def still() -> bool:
            return not await self.under_way()

        try:
            await eventually(still, timeout=timeout, pause=0.25)
        except AssertionError:
            raise AssertionError(f"after {timeout} s still under way: {await self.under_way()}") from None

    async def under_way(self) -> dict[str, int]:
        """What has not come to rest: unpublished and unhandled events, waiting mails."""
        found = {}
        for service in ("posts", "comments", "people", "notify"):
            found[f"{service} outbox"] = await self.value(
                service, "select count(*) from outbox where published_at is null"
            )
        published = await self._rows("comments", "select event_id from outbox where topic = 'comments.events'")
        handled = await self._rows("notify", "select event_id from inbox")
        found["unhandled"] = len({row["event_id"] for row in published} - {row["event_id"] for row in handled})
        found["waiting"] = await self.value("notify", "select count(*) from notifications where state = 'waiting'")
        return {name: count for name, count in found.items() if count}

    async def hurry(self) -> None:
        """Make every waiting mail due now, so that nobody waits for a back-off."""
        connection = await asyncpg.connect(self.stack.database_urls["notify"])
        try:
            await connection.execute("update notifications set due_at = now() where state = 'waiting'")
        finally:
            await connection.close()

    async def value(self, service: str, sql: str) -> Any:
        """One value from a service's database."""
        return (await self._rows(service, sql))[0][0]

    async def count(self) -> Findings:
        """Compare everything with everything."""
        comments, outbox, inbox, notifications, known = await asyncio.gather(
            self._rows(
                "comments", "select id, body, state, version, author_id, parent_author_id, post_id from comments"
            ),
            self._rows("comments", "select event_id, subject, payload, published_at, type from outbox order by id"),
            self._rows("notify", "select source, event_id from inbox"),
            self._rows("notify", "select id, person_id, comment_id, state, message_id, reasons from notifications"),
            self._rows("notify", "select comment_id, state, version from comments"),
        )
        records = await read_topic(self.stack, "comments.events")
        by_text: dict[str, list[Any]] = defaultdict(list)
        for row in comments:
            by_text[row["body"] or ""].append(row)
        said = [operation for operation in self.operations if operation.kind == "comment"]
        lost = sum(1 for item in said if item.outcome == "ok" and not by_text[item.text])
        phantom = sum(1 for item in said if item.outcome == "failed" and by_text[item.text])
        twice = sum(max(0, len(by_text[item.text]) - 1) for item in said)

        versions: dict[UUID, set[int]] = defaultdict(set)
        envelopes = {envelope.id: envelope for envelope in records}
        for row in outbox:
            versions[row["subject"]].add(version_of(row["payload"]))
        ids = {row["id"] for row in comments}
        orphan_rows = sum(1 for row in comments if versions[row["id"]] != set(range(1, row["version"] + 1)))
        orphan_events = sum(1 for subject in versions if subject not in ids)
        in_outbox = {row["event_id"] for row in outbox}
        orphan_events += sum(1 for event_id in envelopes if event_id not in in_outbox)
        unpublished = sum(1 for row in outbox if row["published_at"] is None)
        lost += sum(1 for event_id in in_outbox if event_id not in envelopes)
        lost += len(in_outbox - {row["event_id"] for row in inbox})

        state = {row["comment_id"]: (row["state"], row["version"]) for row in known}
        stale = sum(1 for row in comments if state.get(row["id"]) != (row["state"], row["version"]))

        sent = [row for row in notifications if row["state"] == "sent"]
        arrived: dict[str, list[bytes]] = defaultdict(list)
        for mail in self.sink.messages:
            if mail.message["List-Id"]:
                arrived[str(mail.message["Message-ID"])].append(mail.content)
        lost += sum(1 for row in sent if row["message_id"] not in arrived)
        expected = {row["message_id"] for row in notifications}
        concerned = Counter((row["person_id"], row["comment_id"]) for row in notifications)
        for row in comments:
            parent = row["parent_author_id"]
            if row["state"] == "visible" and parent and parent != row["author_id"]:
                lost += (parent, row["id"]) not in concerned
        return Findings(
            operations=len(self.operations),
            lost=lost,
            phantom=phantom,
            orphan_rows=orphan_rows,
            orphan_events=orphan_events,
            unpublished=unpublished,
            duplicate_effects=twice + sum(number - 1 for number in concerned.values()),
            inversions=inversions(records) + stale,
            raw_duplicates=len(records) - len(envelopes),
            raw_records=len(records),
            duplicate_mails=sum(len(copies) - 1 for copies in arrived.values()),
            altered_duplicates=sum(len(set(copies)) - 1 for copies in arrived.values()),
            stray_mails=sum(1 for message_id in arrived if message_id not in expected),
        )

    async def _rows(self, service: str, sql: str) -> list[Any]:
        connection = await asyncpg.connect(self.stack.database_urls[service])
        try:
            return list(await connection.fetch(sql))
        finally:
            await connection.close()


def version_of(payload: bytes) -> int:
    return int(orjson.loads(payload)["version"])


def inversions(records: Iterable[Envelope]) -> int:
    """Over the first occurrence of each id: how often a subject's version goes down along its partition."""
    seen: set[UUID] = set()
    last: dict[UUID, int] = {}
    found = 0
    for record in records:
        if record.id in seen:
            continue
        seen.add(record.id)
        version = version_of(record.data)
        found += version < last.get(record.subject, 0)
        last[record.subject] = version
    return found


async def read_topic(stack: Stack, topic: str) -> list[Envelope]:
    """Every record of a topic, partition by partition, in the order of their offsets."""
    consumer = AIOKafkaConsumer(bootstrap_servers=stack.kafka or stack.servers.kafka, auto_offset_reset="earliest")
    await consumer.start()
    try:
        name = f"{stack.name}.{topic}"
        partitions = [TopicPartition(name, number) for number in range(PARTITIONS)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        await consumer.seek_to_beginning(*partitions)
        found: dict[TopicPartition, list[Envelope]] = {partition: [] for partition in partitions}
        position = dict.fromkeys(partitions, 0)
        while any(position[partition] < ends[partition] for partition in partitions):
            batch = await consumer.getmany(timeout_ms=1000)
            for partition, some in batch.items():
                found[partition] += [from_record(record) for record in some]
                position[partition] = some[-1].offset + 1
        return [envelope for partition in partitions for envelope in found[partition]]
    finally:
        await consumer.stop()
