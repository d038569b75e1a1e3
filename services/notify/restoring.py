"""Apply to a restored database what notify has said since the snapshot: choices about mail, and ends of notifications.

Mail is paused until an operator resumes it. A notification that waited at the backup ends as its own topic says, or as
skipped: it may have been sent since. What is older than the restore is never mailed for the first time (`too_old`).
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from services.chassis.database.pool import Transaction
from services.chassis.messaging import outbox
from services.chassis.messaging.history import History, LoggedEvent
from services.contracts.event import Event
from services.contracts.notify import (
    AddressSuppressed,
    FollowChanged,
    MailChoiceChanged,
    ModerationMailEnded,
    NotificationFact,
    NotificationFailed,
    NotificationSent,
    NotificationSkipped,
)
from services.notify import fan_outs, feeds, pausing
from services.notify.domain import Notification, State, fact, moderation_fact

WHY = "restored"

SELECT_NOT_SENT = """
select id, version from notifications where id = any($1::uuid[]) and state <> 'sent' order by person_id, comment_id
"""
SELECT_WAITING = """
select id, version, person_id, comment_id, post_id, reasons, moderation
from notifications
where state = 'waiting'
order by person_id, comment_id
"""
END = """
update notifications set
    state = $2, why = $3, version = $4, sent_at = $5, due_at = null, lease_token = null, lease_until = null,
    frozen = null, frozen_for = null
where id = $1
"""


async def apply_history(tx: Transaction, history: History, epoch: int) -> Mapping[str, int]:
    """Pause mail, repeat choices and suppressions, and end what waited; return what was done.

    Args:
        epoch: that of the backup.
    """
    await pausing.pause_within(tx, WHY)
    choices = [
        await _choose(tx, said.event, later=said.epoch > epoch)
        for said in history.newest(MailChoiceChanged).values()
        if said.epoch >= epoch
    ]
    follows = [
        await _follow(tx, said.event, later=said.epoch > epoch)
        for said in history.newest(FollowChanged).values()
        if said.epoch >= epoch
    ]
    bad = [await _suppress(tx, said.event) for said in history.newest(AddressSuppressed).values()]
    ended_feeds = await feeds.end_all(tx)
    await fan_outs.end_all(tx)  # who was not told before the backup may have been since
    told: dict[UUID, LoggedEvent[NotificationFact] | LoggedEvent[ModerationMailEnded]] = {}
    told |= history.newest(NotificationFact)
    told |= history.newest(ModerationMailEnded)
    not_sent = await tx.fetch(SELECT_NOT_SENT, list(told))
    ended = [row for row in not_sent if told[row["id"]].is_newer_than(epoch, row["version"])]
    await tx.executemany(END, [_as_told(row["id"], told[row["id"]].event) for row in ended])
    unknown = await tx.fetch(SELECT_WAITING)
    await tx.executemany(END, [(row["id"], "skipped", WHY, row["version"] + 1, None) for row in unknown])
    await outbox.add_all(tx, [outbox.new_row(_skipped(row)) for row in unknown])
    return {
        "choices about mail set again": sum(choices),
        "follows set again": sum(follows),
        "addresses suppressed again": sum(bad),
        "secret feeds ended": ended_feeds,
        "notifications ended as told": len(ended),
        "notifications skipped": len(unknown),
    }


SET_CHOICE = """
insert into mail_choices as chosen (person_id, notifications, scope, moderation, version, changed_at)
values ($1, $2, $3, $4, $5, $6)
on conflict (person_id) do update set
    notifications = excluded.notifications, scope = excluded.scope, moderation = excluded.moderation,
    version = excluded.version, changed_at = excluded.changed_at
where $7 or chosen.version < excluded.version
"""


async def _choose(tx: Transaction, event: MailChoiceChanged, *, later: bool) -> int:
    choice = event.person_id, event.notifications, event.scope, event.moderation
    return await tx.execute(SET_CHOICE, *choice, event.version, event.occurred_at, later)


SET_FOLLOW = """
insert into follows as known (id, person_id, post_id, follows, version, changed_at) values ($1, $2, $3, $4, $5, $6)
on conflict (person_id, post_id) do update set
    id = excluded.id, follows = excluded.follows, version = excluded.version, changed_at = excluded.changed_at
where $7 or known.version < excluded.version
"""


async def _follow(tx: Transaction, event: FollowChanged, *, later: bool) -> int:
    follow = event.follow_id, event.person_id, event.post_id, event.follows
    return await tx.execute(SET_FOLLOW, *follow, event.version, event.occurred_at, later)


SUPPRESS = """
insert into suppressions (person_id, address_version, smtp_answer) values ($1, $2, '') on conflict do nothing
"""


async def _suppress(tx: Transaction, event: AddressSuppressed) -> int:
    return await tx.execute(SUPPRESS, event.person_id, event.version)


def _skipped(row: Any) -> Event:
    version = row["version"] + 1
    if row["moderation"]:
        return moderation_fact(row["id"], row["person_id"], "skipped", WHY, version)
    notification = Notification(
        row["id"], version, row["person_id"], row["comment_id"], row["post_id"], tuple(row["reasons"])
    )
    return fact(NotificationSkipped, notification, WHY)


def _as_told(notification_id: UUID, event: NotificationFact | ModerationMailEnded) -> tuple[object, ...]:
    state: State = "skipped"
    if isinstance(event, ModerationMailEnded):
        state = event.state
    elif isinstance(event, NotificationSent):
        state = "sent"
    elif isinstance(event, NotificationFailed):
        state = "failed"
    sent_at = event.occurred_at if state == "sent" else None
    return notification_id, state, event.why, event.version, sent_at
