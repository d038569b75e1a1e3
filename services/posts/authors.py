"""What posts does when people change: schedules of former authors end, and pictures of the erased are deleted."""

from dataclasses import replace
from functools import partial

from services.chassis.database.pool import Database, Transaction
from services.chassis.messaging import outbox
from services.chassis.runtime.waiting import Periodic
from services.contracts.people import PersonFact, is_author
from services.contracts.posts import PostEdited
from services.posts import people_rows, schedule_rows, store
from services.posts.domain import post as rules
from services.posts.domain import scheduling

ERASE_SECONDS = 2.0  # an erased person's pictures are to be gone within 60
POSTS_AT_ONCE = 100
PICTURES_AT_ONCE = 20  # each has up to some megabytes


async def update(tx: Transaction, fact: PersonFact, epoch: int, *, is_erased: bool = False) -> None:
    """Store what is said of a person, and make drafts of what is scheduled of them if they may not write any more.

    Imported authors never could: what an admin schedules of theirs stays so. What somebody schedules after this, with a
    token from before it, the publisher gives up.
    """
    may_write = is_author(fact.roles) and not is_erased
    stored = await people_rows.upsert(tx, fact.person_id, epoch, fact.version, is_author=may_write, is_erased=is_erased)
    if stored is None or may_write:
        return
    if is_erased or (stored["was_author"] is not False and not fact.imported):
        at = rules.now()
        posts = [scheduling.unscheduled(draft) for draft in await schedule_rows.lock_scheduled_of(tx, fact.person_id)]
        await schedule_rows.end(tx, posts)
        await outbox.add_all(tx, [outbox.new_row(rules.fact(PostEdited, post, at)) for post in posts])


def erasing(db: Database) -> Periodic:
    """Return the work that deletes the pictures of erased people, those too that come in while they are erased."""
    return Periodic("delete pictures of the erased", ERASE_SECONDS, partial(delete_pictures, db))


async def delete_pictures(db: Database) -> None:
    """Delete every picture of erased people, batch by batch; posts for which one stands have none then."""
    count = POSTS_AT_ONCE
    while count == POSTS_AT_ONCE:
        async with db.transaction() as tx:
            count = await _uncover(tx)
    count = PICTURES_AT_ONCE
    while count == PICTURES_AT_ONCE:
        async with db.transaction() as tx:
            count = await people_rows.delete_pictures(tx, PICTURES_AT_ONCE)
    async with db.transaction() as tx:
        await people_rows.note_deleted(tx)


async def _uncover(tx: Transaction) -> int:
    at = rules.now()
    ids = await people_rows.lock_showing(tx, POSTS_AT_ONCE)
    for post_id in ids:
        if (post := await store.find(tx, post_id)) is not None:
            post = replace(post, cover=None, version=post.version + 1)
            await store.update(tx, post)
            await outbox.add(tx, rules.fact(PostEdited, post, at))
    return len(ids)
