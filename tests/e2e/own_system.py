"""A running system of its own, whose servers and processes a test may stop."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from aiokafka import AIOKafkaProducer

from services.contracts.topics import COMMENTS, POSTS
from tests.client import Client, Person
from tests.e2e.test_operator_command import Ended, rapport
from tests.servers import PrivateServers
from tests.smtp_sink import SmtpSink
from tests.stack import Stack

GARBAGE = 3  # the partition of what nobody can handle


@dataclass
class OwnSystem:
    """The processes, their servers, and two people who write under one post: Ada, an administrator, and Ben."""

    stack: Stack
    servers: PrivateServers
    sink: SmtpSink
    client: Client
    ada: Person
    ben: Person
    post_id: str
    questions: int = 0

    async def answer_ben(self) -> None:
        """Let Ada answer Ben, who gets a mail about it."""
        self.questions += 1  # equal texts are one comment
        question = await self.client.comment(self.ben, self.post_id, f"Question {self.questions}")
        await self.client.comment(self.ada, self.post_id, f"Answer {self.questions}", parent_id=question["id"])

    async def schedule_a_post(self) -> None:
        """Let Ada schedule a post, whose time comes in a second."""
        publish_at = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
        body = {"title": "Tomorrow", "body": "A text.", "publish_at": publish_at}
        answer = await self.client.call("POST", "/v1/posts", body, who=self.ada)
        assert answer.status == 201, answer.body

    async def garbage(self, count: int) -> None:
        """Write records that nobody can handle to one partition that comments reads."""
        producer = AIOKafkaProducer(bootstrap_servers=self.servers.kafka)
        await producer.start()
        try:
            for _ in range(count):
                await producer.send_and_wait(f"{self.stack.name}.{POSTS.name}", b"garbage", partition=GARBAGE)
        finally:
            await producer.stop()

    async def unknown_events(self, count: int) -> None:
        """Write events of a type that nobody handles to a topic that notify reads."""
        producer = AIOKafkaProducer(bootstrap_servers=self.servers.kafka)
        await producer.start()
        about = {"ce_specversion": "1.0", "ce_source": "/comments", "ce_type": "dev.rapport.comments.counted.v1"}
        try:
            for number in range(count):
                headers = [(name, value.encode()) for name, value in (about | {"ce_id": str(uuid4())}).items()]
                await producer.send(
                    f"{self.stack.name}.{COMMENTS.name}", b"{}", headers=headers, partition=number % COMMENTS.partitions
                )
            await producer.flush()
        finally:
            await producer.stop()

    async def garbage_partition(self) -> dict[str, Any]:
        """Return what an operator sees of the partition with garbage."""
        told = json.loads((await rapport(self.stack, "consumer", "status", "comments", "--json")).out)
        return next(each for each in told["partitions"] if each["partition"] == GARBAGE)

    async def rapport(self, *arguments: str) -> Ended:
        """Run an operator's command, which must succeed."""
        ended = await rapport(self.stack, *arguments)
        assert ended.status == 0, ended
        return ended
