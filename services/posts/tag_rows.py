"""SQL of tags. A post's row has them as they are shown; `post_tags` finds posts by tag, in the order of their lists."""

from collections.abc import Sequence

from services.chassis.database.pool import Transaction
from services.contracts.tags import folded
from services.posts.domain.post import Post

INSERT_TAGS = """
insert into tags (tag, spelling)
select tag, spelling from unnest($1::text[], $2::text[]) as used (tag, spelling)
order by tag
on conflict do nothing
"""
SELECT_SPELLINGS = "select tag, spelling from tags where tag = any($1::text[])"


async def spelt(tx: Transaction, tags: Sequence[str]) -> list[str]:
    """Return these tags as each was spelt when it was used first, which may be now."""
    if not tags:
        return []
    keys = [folded(tag) for tag in tags]
    await tx.execute(INSERT_TAGS, keys, tags)
    spelling = {row["tag"]: row["spelling"] for row in await tx.fetch(SELECT_SPELLINGS, keys)}
    return [spelling[key] for key in keys]


DELETE_TAGS_OF_POST = "delete from post_tags where post_id = $1 and tag <> all($2::text[])"
INSERT_TAGS_OF_POST = """
insert into post_tags (post_id, tag, kind, published_at)
select id, used.tag, kind, case when status = 'published' then published_at end
from posts, unnest($2::text[]) as used (tag)
where id = $1
on conflict do nothing
"""


async def replace_all(tx: Transaction, post: Post) -> None:
    """Let a stored post, whose row this transaction has locked or inserted, be found by its tags and no others."""
    keys = [folded(tag) for tag in post.tags]
    await tx.execute(DELETE_TAGS_OF_POST, post.id, keys)
    if keys:
        await tx.execute(INSERT_TAGS_OF_POST, post.id, keys)
