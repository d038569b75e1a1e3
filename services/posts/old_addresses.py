"""SQL of the addresses that posts had before they were imported."""

from collections.abc import Sequence
from uuid import UUID

from services.chassis.database.pool import Reader, Transaction
from services.posts.domain.post import Post

INSERT_ADDRESSES = """
insert into old_addresses (address, post_id)
select address, $1 from unnest($2::text[]) as address
on conflict do nothing
"""


async def insert(tx: Transaction, post_id: UUID, addresses: Sequence[str]) -> None:
    """Insert addresses that a post had before it was imported; those that are there stay."""
    await tx.execute(INSERT_ADDRESSES, post_id, addresses)


SELECT_BY_ADDRESS = """
select p.id, p.kind, p.slug, p.title, '' as body, p.format, '' as body_html, p.excerpt, p.author_id, p.status,
       p.discussion, p.created_at, p.published_at, p.edited_at, p.edit_note, p.revision, p.version, p.imported
from old_addresses a
join posts p on p.id = a.post_id
where a.address = any($1::text[])
order by array_position($1, a.address), a.number
limit $2
"""


async def find_posts(reader: Reader, addresses: Sequence[str], limit: int) -> list[Post]:
    """Return posts that had one of these addresses, in any status, without their bodies, the most probable first."""
    return [Post(**row) for row in await reader.fetch(SELECT_BY_ADDRESS, addresses, limit)]
