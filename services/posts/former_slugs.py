"""SQL of the slugs that posts had while they were public: they lead to their post, which alone may take them back."""

from collections.abc import Sequence
from uuid import UUID

from services.chassis.database.pool import Reader, Transaction

SELECT_TAKEN = """
select slug from posts where slug = any($1::text[]) and id is distinct from $2
union
select slug from former_slugs where slug = any($1::text[]) and post_id is distinct from $2
"""


async def taken(reader: Reader, slugs: Sequence[str], by_others_than: UUID | None = None) -> set[str]:
    """Return those of the slugs that another post has, or had while it was public."""
    return {row["slug"] for row in await reader.fetch(SELECT_TAKEN, slugs, by_others_than)}


SELECT_POST_ID = "select post_id from former_slugs where slug = $1"


async def find_post_id(reader: Reader, slug: str) -> UUID | None:
    """Return the id of the post that had this slug while it was public."""
    found: UUID | None = await reader.fetchval(SELECT_POST_ID, slug)
    return found


INSERT_FORMER = "insert into former_slugs (slug, post_id) values ($1, $2) on conflict do nothing"


async def reserve(tx: Transaction, slug: str, post_id: UUID) -> None:
    """Let a slug lead to the post that gives it up."""
    await tx.execute(INSERT_FORMER, slug, post_id)


DELETE_FORMER = "delete from former_slugs where slug = $1 and post_id = $2"


async def take_back(tx: Transaction, slug: str, post_id: UUID) -> None:
    """End the redirect of a slug that its post has again."""
    await tx.execute(DELETE_FORMER, slug, post_id)
