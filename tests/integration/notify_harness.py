"""Harness of the tests of notify: fake comments and their events, its database, and ways to look into it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from services.chassis.database.pool import Database
from services.chassis.ids import new_id
from services.chassis.runtime.context import current
from services.contracts import comments as facts
from services.contracts.comments import CommentFact
from services.contracts.event import Envelope, Event
from services.notify import handlers

PACKAGES = ("services.chassis", "services.notify")
NO_SETTLE = timedelta(0)


@dataclass(frozen=True)
class FakeComment:
    """A comment as a test tells of it: who comment it, below what, and what has become of it."""

    author_id: UUID = field(default_factory=new_id)
    post_author_id: UUID = field(default_factory=new_id)
    parent_author_id: UUID | None = field(default_factory=new_id)
    comment_id: UUID = field(default_factory=new_id)
    post_id: UUID = field(default_factory=new_id)
    parent_id: UUID | None = field(default_factory=new_id)
    state: str = "visible"
    version: int = 1
    imported: bool = False
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def changed_to(self, state: str) -> "FakeComment":
        """Return the same comment, one version later."""
        return replace(self, state=state, version=self.version + 1)

    def fact(self, type_: type[CommentFact]) -> CommentFact:
        return type_(
            comment_id=self.comment_id,
            post_id=self.post_id,
            post_author_id=self.post_author_id,
            parent_id=self.parent_id,
            parent_author_id=self.parent_author_id,
            depth=1 if self.parent_id else 0,
            author_id=self.author_id,
            state=self.state,
            version=self.version,
            created_at=self.created_at,
            occurred_at=datetime.now(UTC),
            imported=self.imported,
        )

    @property
    def posted(self) -> CommentFact:
        return self.fact(facts.CommentPosted)

    @property
    def edited(self) -> CommentFact:
        return self.fact(facts.CommentEdited)

    @property
    def removed(self) -> CommentFact:
        return self.fact(facts.CommentRemoved)

    @property
    def held(self) -> CommentFact:
        return self.fact(facts.CommentHeld)

    @property
    def approved(self) -> CommentFact:
        return self.fact(facts.CommentApproved)

    @property
    def rejected(self) -> CommentFact:
        return self.fact(facts.CommentRejected)

    @property
    def restored(self) -> CommentFact:
        return self.fact(facts.CommentRestored)


def envelope_of(event: Event, correlation_id: str | None = None) -> Envelope:
    return Envelope(
        id=new_id(),
        source="/services/comments",
        type=event.type,
        subject=event.subject,
        time=datetime.now(UTC),
        key=event.key,
        data=event.model_dump_json().encode(),
        correlation_id=correlation_id,
    )


@dataclass
class NotifyHarness:
    """Notify over a database of its own, without its network."""

    db: Database
    settle_seconds: float = 0
    expect_fan_out: Callable[[], None] = lambda: None

    async def handle(self, *events: CommentFact) -> None:
        """Handle events one after another, each in a transaction of its own, as the consumer does."""
        by_type = handlers.build(self.settle_seconds, self.expect_fan_out).by_type
        for event in events:
            async with self.db.transaction() as tx:
                await by_type[event.type](tx, event, envelope_of(event, current().correlation_id))

    async def row(self, person_id: UUID | None, comment_id: UUID) -> Any:
        """Return the notification, or None."""
        async with self.db.reader() as reader:
            return await reader.fetchrow(
                "select id, state, why, reasons, announced, version, attempts, frozen, lease_token, smtp_answer, "
                "message_id, message_sha256, due_at, sent_at, extract(epoch from due_at - now())::float8 as due_in "
                "from notifications where person_id = $1 and comment_id = $2",
                person_id,
                comment_id,
            )

    async def ending(self, person_id: UUID | None, comment_id: UUID) -> tuple[str, str | None] | None:
        """Return state and why."""
        row = await self.row(person_id, comment_id)
        return (row["state"], row["why"]) if row else None

    async def rows(self) -> int:
        return int(await self.value("select count(*) from notifications"))

    async def value(self, sql: str, *args: object) -> Any:
        async with self.db.reader() as reader:
            return await reader.fetchval(sql, *args)

    async def change(self, sql: str, *args: object) -> int:
        async with self.db.transaction() as tx:
            return await tx.execute(sql, *args)

    async def events(self) -> list[tuple[str, str | None]]:
        """Return the events of the outbox in order: the last part of the type, and why."""
        async with self.db.reader() as reader:
            rows = await reader.fetch(
                "select split_part(type, '.', 4) as kind, convert_from(payload, 'UTF8')::jsonb ->> 'why' as why "
                "from outbox order by id"
            )
        return [(row["kind"], row["why"]) for row in rows]
