"""The whole system behind a real pgbouncer in transaction mode, from a comment to its mail."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.client import Client, Person
from tests.pgbouncer import pgbouncer, through
from tests.servers import Servers
from tests.smtp_sink import SmtpSink
from tests.stack import DATABASES, Stack, started
from tests.waiting import eventually

PARALLEL = 40


@pytest.fixture(scope="module")
async def behind(
    servers: Servers, session_sink: SmtpSink, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stack]:
    folder: Path = tmp_path_factory.mktemp("pooled")
    with pgbouncer(servers, folder / "pgbouncer") as port:
        stack = Stack(servers, folder, session_sink.port, name=f"pooled_{uuid4().hex[:8]}")
        direct = {f"{name.upper()}_DATABASE_DIRECT_URL": stack.database_urls[name] for name in DATABASES}
        pooled = {f"{name.upper()}_DATABASE_URL": through(stack.database_urls[name], port) for name in DATABASES}
        stack.overrides = {**direct, **pooled, "DATABASE_POOLER": "transaction"}
        async with started(stack):
            yield stack


@pytest.fixture(scope="module")
async def pooled(behind: Stack, session_sink: SmtpSink) -> AsyncIterator[Client]:
    async with Client(behind.url, session_sink) as client:
        yield client


async def test_comments_at_once_are_stored_once_each_and_mailed(
    pooled: Client, session_sink: SmtpSink, unique: str
) -> None:
    admin = await pooled.sign_in("Ada Admin", "admin@example.com")
    anna = await pooled.sign_in("Anna", f"anna.{unique}@example.com")
    post = await pooled.publish(admin, title="Behind a pooler")
    question = await pooled.comment(anna, post["id"], "Is anybody there?")

    async def answer(number: int) -> str:
        body = {"body": f"Number {number}", "parent_id": question["id"]}
        headers = {"Idempotency-Key": f"key-{number}"}
        path = f"/v1/posts/{post['id']}/comments"
        found = await pooled.call("POST", path, body, who=admin, headers=headers)
        assert found.status == 201, found.body
        return str(found.json["id"])

    ids = await asyncio.gather(*(answer(number) for number in range(PARALLEL)))
    assert len(set(ids)) == PARALLEL
    assert await asyncio.gather(*(answer(number) for number in range(PARALLEL))) == ids

    async def listed() -> bool:
        page = await pooled.call("GET", f"/v1/comments/{question['id']}", who=anna)
        return bool(page.json["reply_count"] == PARALLEL)

    await eventually(listed)
    await eventually(lambda: len(_answers(session_sink, anna)) == PARALLEL, timeout=60)


def _answers(sink: SmtpSink, who: Person) -> list[object]:
    return [mail for mail in sink.to(who.email) if mail.message["In-Reply-To"]]
