"""Helpers of the tests of backups: a service with a database and a broker, rows, snapshots that were tampered with."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from services.chassis.backup import catalogue, manifest, snapshot
from services.chassis.backup.manifest import Manifest
from services.chassis.backup.restore import Backed, CatchUp, RestoreResult, restore
from services.chassis.runtime.settings import Settings
from services.contracts.topics import SUBSCRIPTIONS
from services.notify.rescheduling import release_leases
from services.people.store import sign_in
from tests.conftest import NewDatabase
from tests.integration.restoring_process import nothing_again
from tests.servers import Servers

RELEASES = {"notify": release_leases, "people": sign_in.release_leases}
ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Trial:
    """One service's database, with what belongs to it."""

    service: str
    url: str
    settings: Settings

    @property
    def backed(self) -> Backed:
        packages = ("services.chassis", f"services.{self.service}")
        topics = SUBSCRIPTIONS.get(self.service, ())
        rest = {"release_leases": RELEASES[self.service]} if self.service in RELEASES else {}
        return Backed(self.service, lambda: self.url, packages, topics, **rest)

    async def take(self, folder: Path) -> Manifest:
        return await snapshot.take(self.service, self.url, self.backed.topics, self.settings, folder)

    async def put_back(self, folder: Path, *, catch_up: CatchUp[Any] | None = None, **options: bool) -> RestoreResult:
        after = catch_up or nothing_again(self.service)
        return await restore(self.backed, self.settings, after, folder, **options)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(self.url, server_settings={"timezone": "UTC"})
        try:
            yield connection
        finally:
            await connection.close()

    async def run(self, *statements: str) -> Any:
        """Run statements; return the value of the last."""
        async with self.connected() as connection:
            for statement in statements[:-1]:
                await connection.execute(statement)
            return await connection.fetchval(statements[-1])

    async def everything(self) -> dict[str, list[str]]:
        """Return every row of every table of a snapshot, as text."""
        async with self.connected() as connection:
            return {
                table.name: sorted(row[0] for row in await connection.fetch(f'select t::text from "{table.name}" as t'))
                for table in await catalogue.tables(connection)
            }

    async def program(
        self, role: str, *arguments: str, failpoints: str = "", blocks: int = 0
    ) -> "subprocess.CompletedProcess[str]":
        """Run a one-shot role in a process of its own, whose restore applies nothing again.

        Args:
            blocks: of 512 bytes; no file may have more, as if the disk were full.
        """
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            f"{self.service.upper()}_DATABASE_URL": self.url,
            "KAFKA_BOOTSTRAP_SERVERS": self.settings.kafka_bootstrap_servers,
            "KAFKA_PREFIX": self.settings.kafka_prefix,
            **({"FAILPOINTS": failpoints} if failpoints else {}),
        }
        command = [sys.executable, "-m", "tests.integration.restoring_process", self.service, role, *arguments]
        limit = ["sh", "-c", f'ulimit -f {blocks}; exec "$@"', "sh"] if blocks else []
        return await asyncio.to_thread(
            subprocess.run, [*limit, *command], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60
        )


def reseal(folder: Path, service: str, **changes: Any) -> Manifest:
    """Write a manifest anew with other values and a right digest, as another version or time would have."""
    changed = manifest.read(folder, service).model_copy(update=changes).sealed()
    (folder / service / manifest.NAME).unlink()
    manifest.write(folder / service, changed)
    return changed


NewTrial = Callable[..., Awaitable[Trial]]


@pytest.fixture
async def new_trial(
    servers: Servers, new_database: NewDatabase, kafka: str, kafka_prefix: str
) -> AsyncIterator[NewTrial]:
    """`await new_trial("comments")`: migrated; with `empty=True` a database without tables."""
    made: list[str] = []

    async def make(service: str, *, empty: bool = False, **settings: object) -> Trial:
        if empty:
            url = servers.postgres_url(f"test_{uuid4().hex[:12]}")
            admin = await asyncpg.connect(servers.postgres_url("postgres"))
            await admin.execute(f'create database "{url.rpartition("/")[2]}"')
            await admin.close()
            made.append(url.rpartition("/")[2])
        else:
            url = (await new_database("services.chassis", f"services.{service}")).url
        values = {"kafka_bootstrap_servers": kafka, "kafka_prefix": kafka_prefix, **settings}
        return Trial(service, url, Settings.model_validate(values))

    yield make
    admin = await asyncpg.connect(servers.postgres_url("postgres"))
    for name in made:
        await admin.execute(f'drop database "{name}" with (force)')
    await admin.close()


POST, AUTHOR = uuid4(), uuid4()
STRANGE = (
    "tab\there",
    "back\\slash \\n \\N \\. \\x41",
    "line\nbreak\r\nboth\r",
    "\\.",
    "\\N",
    "😀 𝒳 \U0010ffff",
    "\x01\x7f\u0085\u2028",
    "",
    " ",
    "'\"$$;--",
)

INSERT_DISCUSSION = """
insert into discussions (post_id, post_author_id, kind, status, discussion, version)
values ($1, $2, 'post', 'published', 'open', 1)
"""
INSERT_COMMENT = """
insert into comments (id, post_id, list_id, path, depth, author_id, body, format, body_html, renderer_version, state,
                      created_at, shown)
values ($1, $2, $2, $3, 0, $4, $5, 'markdown', $5, 1, 'visible', $6, true)
"""
INSERT_EVENT = """
insert into outbox (event_id, topic, type, source, subject, key, time, payload)
values ($1, 'comments.events', 'posted', '/services/comments', $1, $1, now(), $2)
"""
COUNT = "update discussions set visible_count = visible_count + 1 where post_id = $1"


async def write_comments(connection: asyncpg.Connection, texts: Sequence[str]) -> None:
    """Commit comments, their count and their events together, as posting does."""
    async with connection.transaction():
        for text in texts:
            comment = uuid4()
            await connection.execute(INSERT_COMMENT, comment, POST, comment.bytes, AUTHOR, text, datetime.now(UTC))
            await connection.execute(INSERT_EVENT, uuid4(), text.encode())
            await connection.execute(COUNT, POST)


async def begin_discussion(trial: Trial, texts: Sequence[str] = STRANGE) -> None:
    async with trial.connected() as connection:
        await connection.execute(INSERT_DISCUSSION, POST, AUTHOR)
        await write_comments(connection, texts)
