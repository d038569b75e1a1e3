"""Rows of links as they are used. `sign_in.lock_address` comes before `use_link`."""

from typing import Any
from uuid import UUID

from services.chassis.database.pool import Reader, Transaction
from services.chassis.mail.addresses import Address
from services.people.domain import SECOND_PRESS_WINDOW, Asked, FrontEnd, Link

LINK = """
select sign_in_links.token_sha256, sign_in_links.used_at is null and sign_in_links.expires_at > now() as live,
    sign_in_requests.address, sign_in_requests.lookup, sign_in_requests.name, sign_in_requests.return_to,
    sign_in_requests.challenge
from sign_in_links left join sign_in_requests on sign_in_requests.id = sign_in_links.request_id
"""
SELECT_LINK = LINK + "where sign_in_links.token_sha256 = $1"


async def find_link(reader: Reader, token_sha256: bytes) -> Link | None:
    """Return the link, None if it was never drawn. This waits for no lock, so an expired link is refused at once."""
    return _link(await reader.fetchrow(SELECT_LINK, token_sha256))


SELECT_NEWEST_LINK = LINK + "where sign_in_links.request_id = $1 order by sign_in_links.expires_at desc limit 1"


async def newest_link(tx: Transaction, request_id: UUID) -> Link | None:
    """Return the link in the latest mail of a request, if one was drawn."""
    return _link(await tx.fetchrow(SELECT_NEWEST_LINK, request_id))


def _link(row: Any) -> Link | None:
    if row is None:
        return None
    if row["address"] is None:
        return Link(row["token_sha256"], None, live=False)
    front_end = FrontEnd(row["return_to"], row["challenge"]) if row["return_to"] and row["challenge"] else None
    return Link(
        row["token_sha256"], Asked(Address(row["address"], row["lookup"]), row["name"], front_end), live=row["live"]
    )


USE_LINK = """
update sign_in_links set used_at = now(), nonce_sha256 = $2
where token_sha256 = $1 and used_at is null and expires_at > now()
"""


async def use_link(tx: Transaction, link: Link, nonce_sha256: bytes | None) -> bool:
    """Mark the link as used by the browser with this nonce; return False if it was used before or has expired."""
    return await tx.execute(USE_LINK, link.token_sha256, nonce_sha256) == 1


WAS_JUST_USED = """
select exists (
    select from sign_in_links where token_sha256 = $1 and nonce_sha256 = $2 and used_at > now() - $3::interval
)
"""


async def was_just_used(tx: Transaction, link: Link, nonce_sha256: bytes) -> bool:
    """Return whether the browser with this nonce has used the link within `SECOND_PRESS_WINDOW`."""
    return bool(await tx.fetchval(WAS_JUST_USED, link.token_sha256, nonce_sha256, SECOND_PRESS_WINDOW))
