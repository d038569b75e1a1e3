"""Apply to a restored database what posts has said since the snapshot: the last word counts, of everything but texts.

A text that was written since is lost, and so is a publication of it: the older text was not meant to be read. So is the
time of a draft of which anything was said since: perhaps it was taken back. A text that was blanked since is blanked
again; if it is the present one, because what replaced it is lost, nobody reads it.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from uuid import UUID

from services.chassis.database.pool import Transaction
from services.chassis.messaging import outbox
from services.chassis.messaging.history import History
from services.contracts.posts import (
    PostDeleted,
    PostEdited,
    PostFact,
    PostPublished,
    PostRevisionBlanked,
    PostWithdrawn,
)
from services.posts import blanking, deleting, revision_rows, schedule_rows, store
from services.posts.domain import post as rules
from services.posts.domain import scheduling
from services.posts.domain.post import Post


async def apply_history(tx: Transaction, history: History, epoch: int) -> Mapping[str, int]:
    """Withdraw, publish, open and close again; return what was done and what is lost.

    Args:
        epoch: that of the backup.
    """
    done = {"posts withdrawn again": 0, "posts published again": 0, "discussions set again": 0}
    done |= {"drafts deleted again": 0, "posts lost": 0, "edits lost": 0, "schedules lost": 0}
    for post_id, said in history.newest(PostFact).items():
        before, is_deleted = await store.lock(tx, post_id), isinstance(said.event, PostDeleted)
        if before is None:
            done["posts lost"] += not is_deleted
        elif is_deleted and before.status == "draft":
            done["drafts deleted again"] += 1
            await deleting.delete(tx, before)
        elif said.is_newer_than(epoch, before.version):
            done["edits lost"] += not _has_text_of(before, said.event)
            post = _as_said(before, said.event)
            if post == before:
                continue
            done["posts withdrawn again"] += post.status != before.status == "published"
            done["posts published again"] += post.status != before.status != "published"
            done["discussions set again"] += post.discussion != before.discussion
            done["schedules lost"] += before.is_scheduled and post.status == "draft"
            await store.update(tx, post)
            await schedule_rows.set_time(tx, post)
            await outbox.add(tx, rules.fact(_kind(before, post), post, rules.now()))
    return done | await _blank_again(tx, history)


def _has_text_of(post: Post, said: PostFact) -> bool:
    """Return whether the post has the text that the event told of. Early events tell it by its number alone."""
    return said.revision == post.revision and said.text_id in (None, post.text)


async def _blank_again(tx: Transaction, history: History) -> dict[str, int]:
    """Blank what was blanked since, in every former life of the database: ids of texts are never used again."""
    gone: dict[UUID, set[UUID]] = defaultdict(set)
    for text_id, said in history.newest(PostRevisionBlanked).items():
        gone[said.event.post_id].add(text_id)
    done = {"revisions blanked again": 0, "posts without their text": 0}
    for post_id, texts in gone.items():
        post = await store.lock(tx, post_id)
        if post is None:
            continue
        for row in await revision_rows.text_ids(tx, post_id):
            number = row["revision"]
            if row["is_blank"] or rules.id_of_text(post_id, number, row["text_id"]) not in texts:
                continue
            await blanking.blank(tx, post_id, number)
            done["revisions blanked again"] += 1
            if number == post.revision:
                done["posts without their text"] += 1
                after = rules.without_text(post)
                await store.update(tx, after)
                await schedule_rows.set_time(tx, after)
                await outbox.add(tx, rules.fact(_kind(post, after), after, rules.now()))
    return done


def _as_said(post: Post, said: PostFact) -> Post:
    """Return the post as the event says, but with its own text, and public only if that text was."""
    if said.status == "withdrawn" and post.status == "published":
        post = rules.withdrawn(post)
    elif said.status == "published" and _has_text_of(post, said):
        post = rules.published(post, said.occurred_at)
    elif post.is_scheduled:
        post = scheduling.unscheduled(post)
    if said.discussion != post.discussion:
        post = replace(post, discussion=said.discussion, version=post.version + 1)
    return post


def _kind(before: Post, post: Post) -> type[PostFact]:
    if before.status == post.status:
        return PostEdited
    return PostWithdrawn if post.status == "withdrawn" else PostPublished
