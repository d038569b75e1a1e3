"""Publish drafts when their time has come."""

from datetime import timedelta
from functools import partial

from services.chassis.database.pool import Database
from services.chassis.ids import new_id
from services.chassis.messaging import outbox
from services.chassis.runtime import context, failpoint
from services.chassis.runtime.metrics import Counter, Gauge
from services.chassis.runtime.waiting import Periodic
from services.contracts.posts import PostEdited, PostFact, PostPublished
from services.posts import schedule_rows
from services.posts.domain import post as rules
from services.posts.domain import scheduling

PUBLISHED = Counter("rapport_scheduled_published", "Drafts that were published at their time")
GIVEN_UP = Counter("rapport_scheduled_given_up", "Drafts that were not, because their authors may not write any more")
DUE = Gauge("rapport_scheduled_due", "Drafts whose time has come")
OLDEST = Gauge("rapport_scheduled_due_oldest_seconds", "How long ago the time of the oldest of these came")

LOOK_SECONDS = 0.5  # an answer promises 2 s
MEASURE_SECONDS = 10.0
BATCH = 100
STEP = timedelta(milliseconds=1)


def publishing(db: Database) -> Periodic:
    """Return the work of the role `publisher`: it looks for due drafts twice a second, through every outage.

    Any number of processes may do it: a draft is published in the transaction that has locked its row, together with
    its event.
    """
    return Periodic("publish scheduled posts", LOOK_SECONDS, partial(publish_due, db))


async def publish_due(db: Database) -> None:
    """Publish every draft whose time has come, in the order of these times, which lists keep.

    What somebody scheduled who was no author any more by then, with a token of before, becomes a mere draft.
    """
    next_at, full = rules.now(), True
    while full:
        async with db.transaction() as tx:
            due = await schedule_rows.lock_due(tx, rules.now(), BATCH)
            full = len(due) == BATCH
            if not due:
                return
            failpoint.reach("publisher.locked")
            first = max(next_at, rules.now())
            wanted = [draft for draft, is_wanted in due if is_wanted]
            posts = [rules.published(draft, first + place * STEP) for place, draft in enumerate(wanted)]
            given_up = [scheduling.unscheduled(draft) for draft, is_wanted in due if not is_wanted]
            next_at = first + len(posts) * STEP
            await schedule_rows.end(tx, [*posts, *given_up])
            facts: list[PostFact] = [rules.fact(PostPublished, post, first) for post in posts]
            facts += [rules.fact(PostEdited, post, first) for post in given_up]
            with context.bound(context.Context(f"publisher-{new_id()}")):
                await outbox.add_all(tx, [outbox.new_row(fact) for fact in facts])
        PUBLISHED.inc(len(posts))
        GIVEN_UP.inc(len(given_up))


def measuring(db: Database) -> Periodic:
    """Return the work that measures what is overdue: of every process, so that it is seen while no publisher runs."""

    async def measure() -> None:
        at = rules.now()
        async with db.reader() as reader:
            row = await schedule_rows.overdue(reader, at)
        DUE.set(row["count"])
        OLDEST.set((at - row["since"]).total_seconds() if row["count"] else 0)

    return Periodic("measure overdue posts", MEASURE_SECONDS, measure)
