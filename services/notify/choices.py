"""What a person has chosen: which mail they get, which discussions they follow, and how far they have read."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from services.chassis.database import idempotency
from services.chassis.database.idempotency import CommandResult, Kept, Key
from services.chassis.database.pool import Database, Reader, Transaction
from services.chassis.errors import invalid
from services.chassis.ids import new_id
from services.chassis.messaging import outbox
from services.contracts.notify import (
    EditMailSettings,
    FollowChanged,
    MailChoice,
    MailChoiceChanged,
    MailScope,
    ModerationMail,
)

MOST_UNREAD = 1000  # what is more is counted as this many


@dataclass(frozen=True)
class MailSettings:
    """Which mail a person gets; these are the settings of everybody who never chose.

    Attributes:
        scope: about which comments, if `notifications`.
        moderation: how often a moderator hears of what waits.
    """

    notifications: bool = True
    scope: MailScope = "all"
    moderation: ModerationMail = "hourly"


OF_CHOICE = {
    "all": EditMailSettings(notifications=True, scope="all"),
    "replies": EditMailSettings(notifications=True, scope="replies"),
    "none": EditMailSettings(notifications=False),
}

SELECT_SETTINGS = "select notifications, scope, moderation from mail_choices where person_id = $1"


async def mail_settings(reader: Reader, person_id: UUID) -> MailSettings:
    """Return which mail a person gets."""
    row = await reader.fetchrow(SELECT_SETTINGS, person_id)
    return MailSettings(**row) if row else MailSettings()


UPSERT_SETTINGS = """
insert into mail_choices as chosen (person_id, notifications, scope, moderation) values ($1, $2, $3, $4)
on conflict (person_id) do update set
    notifications = excluded.notifications, scope = excluded.scope, moderation = excluded.moderation,
    changed_at = now(), version = chosen.version + 1
returning version
"""
LOCK_SETTINGS = SELECT_SETTINGS + " for update"
# Not the row alone: who chooses for the first time has none, and of two such choices made at once one would be lost.
LOCK_CHOOSING = "select pg_advisory_xact_lock(hashtextextended('mail choice ' || $1, 0))"


async def edit_mail_settings(
    db: Database, person_id: UUID, command: EditMailSettings, key: Key | None = None
) -> CommandResult:
    """Choose which mail a person gets. The mailer reads this choice last, so it holds for claimed rows too.

    Raises:
        Problem: those of the idempotency key.
    """
    async with db.transaction() as tx:
        if (kept := await idempotency.lock_and_find(tx, key)) is not None:
            return _replayed(kept)
        await tx.execute(LOCK_CHOOSING, str(person_id))
        row = await tx.fetchrow(LOCK_SETTINGS, person_id)
        before = MailSettings(**row) if row else MailSettings()
        given = {name: value for name, value in command.model_dump().items() if value is not None}
        settings = replace(before, **given)
        if settings != before:
            values = settings.notifications, settings.scope, settings.moderation
            version: int = await tx.fetchval(UPSERT_SETTINGS, person_id, *values)
            await outbox.add(tx, _changed(person_id, settings, version))
        return await _kept(tx, key, person_id, as_json(settings))


async def choose_mail(db: Database, person_id: UUID, choice: MailChoice) -> MailSettings:
    """Choose about what a person gets mail, as a link in a mail offers it; how moderators are told stays as it is."""
    result = await edit_mail_settings(db, person_id, OF_CHOICE[choice])
    return MailSettings(**result.representation)


async def choose_moderation_mail(db: Database, person_id: UUID, choice: ModerationMail) -> MailSettings:
    """Choose how often a moderator hears of what waits, as a link in such a mail offers it; the rest stays as it is."""
    result = await edit_mail_settings(db, person_id, EditMailSettings(moderation=choice))
    return MailSettings(**result.representation)


def as_json(settings: MailSettings) -> dict[str, Any]:
    """Return the settings as a body."""
    return {"notifications": settings.notifications, "scope": settings.scope, "moderation": settings.moderation}


def _changed(person_id: UUID, settings: MailSettings, version: int) -> MailChoiceChanged:
    return MailChoiceChanged(person_id=person_id, version=version, occurred_at=datetime.now(UTC), **as_json(settings))


UPSERT_FOLLOW = """
insert into follows as known (person_id, post_id, follows, id) values ($1, $2, $3, $4)
on conflict (person_id, post_id) do update set
    follows = excluded.follows, version = known.version + 1, changed_at = now()
where known.follows <> excluded.follows
returning id, version
"""
FOLLOWS = "select exists (select from follows where person_id = $1 and post_id = $2 and follows)"


async def set_follows(
    db: Database, person_id: UUID, post_id: UUID, follows: bool, key: Key | None = None
) -> CommandResult:
    """Let a person follow a discussion, or follow it no more; a repetition changes nothing.

    Raises:
        Problem: those of the idempotency key.
    """
    async with db.transaction() as tx:
        if (kept := await idempotency.lock_and_find(tx, key)) is not None:
            return _replayed(kept)
        if follows or await follows_post(tx, person_id, post_id):
            row = await tx.fetchrow(UPSERT_FOLLOW, person_id, post_id, follows, new_id())
            if row is not None:
                event = FollowChanged(
                    follow_id=row["id"],
                    person_id=person_id,
                    post_id=post_id,
                    follows=follows,
                    version=row["version"],
                    occurred_at=datetime.now(UTC),
                )
                await outbox.add(tx, event)
        return await _kept(tx, key, post_id, {"follows": follows})


async def follows_post(reader: Reader, person_id: UUID, post_id: UUID) -> bool:
    """Return whether a person follows the discussion of a post."""
    return bool(await reader.fetchval(FOLLOWS, person_id, post_id))


IS_TOLD = "select exists (select from notifications where id = $2 and person_id = $1 and announced)"
UPSERT_MARK = """
insert into reading_marks as mark (person_id, read_until) values ($1, $2)
on conflict (person_id) do update set read_until = greatest(mark.read_until, excluded.read_until)
"""


async def mark_read(db: Database, person_id: UUID, read_until: UUID, key: Key | None = None) -> CommandResult:
    """Mark a person's notifications as read, up to this one; what was read stays read.

    Raises:
        Problem: `invalid` for what is no notification of theirs, and those of the idempotency key.
    """
    async with db.transaction() as tx:
        if (kept := await idempotency.lock_and_find(tx, key)) is not None:
            return _replayed(kept)
        if not await tx.fetchval(IS_TOLD, person_id, read_until):
            raise invalid("read_until", "is not the id of a notification of yours")
        await tx.execute(UPSERT_MARK, person_id, read_until)
        return await _kept(tx, key, person_id, {"unread": await unread(tx, person_id)})


COUNT_UNREAD = """
select count(*) from (
    select from notifications n left join reading_marks m on m.person_id = n.person_id
    where n.person_id = $1 and n.announced and (m.read_until is null or n.id > m.read_until)
    limit $2
) as first
"""


async def unread(reader: Reader, person_id: UUID) -> int:
    """Return how many notifications a person has not read, counted up to `MOST_UNREAD`."""
    return int(await reader.fetchval(COUNT_UNREAD, person_id, MOST_UNREAD))


async def _kept(tx: Transaction, key: Key | None, subject: UUID, body: dict[str, Any]) -> CommandResult:
    await idempotency.keep(tx, key, Kept(200, None, subject, body))
    return CommandResult(200, body)


def _replayed(kept: Kept) -> CommandResult:
    return CommandResult(kept.status, kept.representation or {}, kept.location, replayed=True)
