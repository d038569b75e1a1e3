"""What a restored database of posts does again: what was taken away since the backup stays away.

What was added since is lost with its text: it is only counted. A post that was published again since stays withdrawn,
because the text that was published is not known any more.
"""

from collections.abc import Mapping
from dataclasses import replace

from services.chassis.database.pool import Transaction
from services.chassis.messaging import outbox
from services.chassis.messaging.history import History
from services.contracts.posts import PostEdited, PostFact, PostWithdrawn
from services.posts import store
from services.posts.domain import post as rules

OPENNESS = {"closed": 0, "held": 1, "open": 2}


async def restored(tx: Transaction, history: History, epoch: int) -> Mapping[str, int]:
    """Withdraw and close again what was withdrawn or closed; return what was done and what is lost.

    Args:
        epoch: that of the backup.
    """
    withdrawn = closed = lost = lost_changes = 0
    for post_id, said in history.newest(PostFact).items():
        post = await store.lock(tx, post_id)
        if post is None:
            lost += 1
            continue
        if not said.is_newer_than(epoch, post.version):
            continue
        now = post
        if said.event.status == "withdrawn" and now.status == "published":
            now = rules.withdrawn(now)
            withdrawn += 1
        if OPENNESS[said.event.discussion] < OPENNESS[now.discussion]:
            now = replace(now, discussion=said.event.discussion, version=now.version + 1)
            closed += 1
        if said.event.revision > post.revision or (said.event.status == "published" and now.status != "published"):
            lost_changes += 1
        if now is not post:
            await store.update(tx, now)
            kind = PostWithdrawn if now.status == "withdrawn" else PostEdited
            await outbox.add(tx, rules.fact(kind, now, rules.now()))
    return {
        "posts withdrawn again": withdrawn,
        "discussions closed again": closed,
        "posts lost": lost,
        "edits and publications lost": lost_changes,
    }
