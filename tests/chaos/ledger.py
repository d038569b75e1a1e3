"""The ledger: it compares the answers that clients got with everything that was stored, published and sent.

Every operation of a client is ok, failed or unknown. After the faults have ended and all work is done, the ledger reads
the services' tables, all of Kafka and every received mail, and counts violations.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.parser import BytesHeaderParser
from typing import Any, Literal
from uuid import UUID

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition

from services.chassis.messaging.cloudevents import from_record
from services.contracts.event import Envelope
from services.contracts.topics import PARTITIONS
from tests.chaos.findings import Findings, inversions, version_of
from tests.smtp_sink import SmtpSink
from tests.stack import Stack
from tests.waiting import eventually

Owner = Literal["posts", "comments"]
Kind = Literal["write", "edit", "remove"]
SELECT_SUBJECTS = {
    "posts": "select id, body, version, status as state from posts",
    "comments": "select id, body, version, state, author_id, parent_author_id from comments",
}
SELECT_KNOWN = {  # the read model that another service made of the events
    "posts": ("comments", "select post_id as id, version, status as state from discussions"),
    "comments": ("notify", "select comment_id as id, version, state from comments"),
}
UNPUBLISHED = "select count(*) from outbox where published_at is null"


@dataclass
class Operation:
    """One operation of a client. `text` is unique and identifies the row whatever the answer was.

    Attributes:
        subject: the post or comment it created or is about; known after the answer.
        attempts: requests made for it, all under one idempotency key.
        seconds: time from the first request to the final answer.
    """

    text: str
    owner: Owner = "comments"
    kind: Kind = "write"
    outcome: Literal["ok", "failed", "unknown"] = "unknown"
    subject: UUID | None = None
    attempts: int = 0
    seconds: float = 0.0


@dataclass
class Ledger:
    """All operations of one test, and the final count."""

    stack: Stack
    sink: SmtpSink
    operations: list[Operation] = field(default_factory=list)

    def intend(
        self, text: str, owner: Owner = "comments", kind: Kind = "write", subject: UUID | None = None
    ) -> Operation:
        operation = Operation(text, owner, kind, subject=subject)
        self.operations.append(operation)
        return operation

    async def rest(self, timeout: float = 120) -> None:
        """Wait until there is no unpublished event, no unhandled event and no waiting mail."""

        async def still() -> bool:
            return not await self.under_way()

        try:
            await eventually(still, timeout=timeout, pause=0.25)
        except AssertionError:
            raise AssertionError(f"after {timeout} s still in progress: {await self.under_way()}") from None

    async def under_way(self) -> dict[str, int]:
        """Return the work in progress: unpublished events, those not handled by their readers, and waiting mails.

        Each step is looked at after all steps before it: what moves on between two looks is seen where it went.
        """
        found: dict[str, int] = {}
        for owner, reader in (("people", "posts"), ("posts", "comments"), ("comments", "notify")):
            found[f"{owner} outbox"] = await self.value(owner, UNPUBLISHED)
            if not any(found.values()):
                published = await self._rows(owner, f"select event_id from outbox where topic = '{owner}.events'")
                handled = await self._rows(reader, "select event_id from inbox")
                found[f"{owner} unhandled"] = len(_ids(published) - _ids(handled))
        found["waiting"] = await self.value("notify", "select count(*) from notifications where state = 'waiting'")
        found["notify outbox"] = await self.value("notify", UNPUBLISHED)
        return {name: count for name, count in found.items() if count}

    async def hurry(self) -> None:
        """Make every waiting mail due now, so that no test waits for a back-off."""
        await self._execute("update notifications set due_at = now() where state = 'waiting'")

    async def end_leases(self) -> None:
        """End the leases that a killed mailer left, so that no test waits for their 30 seconds."""
        await self._execute("update notifications set lease_until = now() where lease_until is not null")

    async def _execute(self, sql: str) -> None:
        connection = await asyncpg.connect(self.stack.database_urls["notify"])
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    async def value(self, service: str, sql: str) -> Any:
        """Return one value from a service's database."""
        return (await self._rows(service, sql))[0][0]

    async def count(self) -> Findings:
        """Compare everything with everything and return the counts."""
        total: Counter[str] = Counter()
        for owner in ("posts", "comments"):
            total += await self._owned(owner)
        total += await self._notified()
        return Findings(operations=len(self.operations), **total)

    async def _owned(self, owner: Owner) -> Counter[str]:
        """Compare one owner's rows with its operations, its outbox, its topic, and the read model of its consumer."""
        reader, select_known = SELECT_KNOWN[owner]
        rows, outbox, inbox, known = await asyncio.gather(
            self._rows(owner, SELECT_SUBJECTS[owner]),
            self._rows(
                owner,
                f"select event_id, subject, payload, published_at from outbox where topic = '{owner}.events'",
            ),
            self._rows(reader, "select event_id from inbox"),
            self._rows(reader, select_known),
        )
        records = await read_topic(self.stack, f"{owner}.events")
        found = Counter(settled([each for each in self.operations if each.owner == owner], rows))

        versions: dict[UUID, set[int]] = defaultdict(set)
        for row in outbox:
            versions[row["subject"]].add(version_of(row["payload"]))
        ids, in_outbox, in_kafka = {row["id"] for row in rows}, _ids(outbox), {record.id for record in records}
        found["orphan_rows"] = sum(1 for row in rows if versions[row["id"]] != set(range(1, row["version"] + 1)))
        found["orphan_events"] = sum(1 for subject in versions if subject not in ids) + len(in_kafka - in_outbox)
        found["unpublished"] = sum(1 for row in outbox if row["published_at"] is None)
        found["lost"] += len(in_outbox - in_kafka) + len(in_outbox - _ids(inbox))
        applied = {row["id"]: (row["state"], row["version"]) for row in known}
        stale = sum(1 for row in rows if applied.get(row["id"]) != (row["state"], row["version"]))
        found["inversions"] = inversions(records) + stale
        found["raw_records"], found["raw_duplicates"] = len(records), len(records) - len(in_kafka)
        return found

    async def _notified(self) -> Counter[str]:
        """Compare expected notifications with stored ones, and stored ones with the received mails."""
        comments, notifications = await asyncio.gather(
            self._rows("comments", SELECT_SUBJECTS["comments"]),
            self._rows("notify", "select person_id, comment_id, state, message_id from notifications"),
        )
        arrived: dict[str, list[bytes]] = defaultdict(list)
        for mail in self.sink.messages:
            head = BytesHeaderParser().parsebytes(mail.content)
            if head["List-Id"]:
                arrived[str(head["Message-ID"])].append(mail.content)
        concerned = Counter((row["person_id"], row["comment_id"]) for row in notifications)
        expected = {row["message_id"] for row in notifications}
        unheard = sum(
            1
            for row in comments
            if row["state"] == "visible"
            and row["parent_author_id"] not in (None, row["author_id"])
            and (row["parent_author_id"], row["id"]) not in concerned
        )
        unsent = sum(1 for row in notifications if row["state"] == "sent" and row["message_id"] not in arrived)
        return Counter(
            lost=unheard + unsent,
            duplicate_effects=concerned.total() - len(concerned),
            mails=sum(len(copies) for copies in arrived.values()),
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


def _ids(rows: Sequence[Any]) -> set[UUID]:
    return {row["event_id"] for row in rows}


def settled(operations: Sequence[Operation], rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Compare operations with the rows they should have left; return what is lost, phantom and duplicate."""
    by_id = {row["id"]: row for row in rows}
    by_text: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        by_text[row["body"] or ""].append(row)
    lost = phantom = twice = 0
    histories: dict[UUID, list[Operation]] = defaultdict(list)
    for operation in operations:
        if operation.subject is not None:
            histories[operation.subject].append(operation)
        if operation.outcome == "failed":
            phantom += operation.kind != "remove" and bool(by_text[operation.text])
        elif operation.kind == "write":
            twice += sum(1 for row in by_text[operation.text] if row["id"] != operation.subject)
            twice -= operation.subject is None and bool(by_text[operation.text])  # unknown, and it happened once
    for subject, history in histories.items():
        done = [operation for operation in history if operation.outcome == "ok"]
        doubtful = [operation for operation in history if operation.outcome == "unknown"]
        if not done:
            continue
        if subject not in by_id:
            lost += 1
            continue
        row = by_id[subject]
        lost += (row["body"], row["state"] == "removed") not in [
            (None if operation.kind == "remove" else operation.text, operation.kind == "remove")
            for operation in (done[-1], *doubtful)
        ]
        lost += row["version"] < len(done)
        twice += max(0, row["version"] - len(done) - len(doubtful))
    return {"lost": lost, "phantom": phantom, "duplicate_effects": twice}


async def read_topic(stack: Stack, topic: str) -> list[Envelope]:
    """Return every record of a topic, partition by partition, in offset order."""
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
