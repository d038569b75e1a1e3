"""Add comments that were posted to lists that are kept, so that the next reader need not wait for the owner.

A list gets a comment only where the owner would answer just that: nothing on the page is left out for want of room, and
there is room for one more. All else is asked for anew.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import orjson

from services.contracts.comments import room_of_page
from services.gateway.caching.entry import Entry, Json, with_body

FIRST_PAGE = re.compile(rb"/v1/posts/[^/?]+/comments\?(?:limit=(\d+))?\Z")
LIMIT = 50
MOST_ADDED = 20  # between two readers; more are not worth their memory
MOST_BYTES = 150_000  # of a page that comments are added to; one that is far longer may leave texts out
DEEPEST = 10  # of comments that are added; pages end at some depth


def takes_comments(key: bytes) -> bool:
    """Return whether comments can be added to the answer with this key."""
    return FIRST_PAGE.match(key) is not None


def with_added(key: bytes, entry: Entry) -> Entry | None:
    """Return the entry with the comments that were added to it; None if only the owner knows what it is with them."""
    found = FIRST_PAGE.match(key)
    if found is None or len(entry.body) > MOST_BYTES:
        return None
    page, limit = orjson.loads(entry.body), int(found[1] or LIMIT)
    if not all(_add(page, comment, limit) for comment in entry.added):
        return None
    return replace(with_body(entry, orjson.dumps(page)), added=())


def _add(page: Json, comment: Json, limit: int) -> bool:
    """Add a comment to a list of the oldest; return False if only the owner knows what it is with it."""
    tops: list[Json] = page["items"]
    parent_id = comment["parent_id"]
    if page["next"] is not None:  # it stands behind the page, unless it answers what is on it
        return parent_id is None and bool(tops) and tops[-1]["id"] < comment["id"]
    trees = [list(_with_all_below(top)) for top in tops]
    nodes = {node["id"]: node for tree in trees for node in tree}
    if comment["id"] in nodes:
        return True
    if any(node["replies"]["next"] is not None for node in nodes.values()):
        return False
    siblings = tops
    if parent_id is not None:
        parent = nodes.get(parent_id)
        if parent is None or comment["depth"] > DEEPEST:
            return False
        siblings = parent["replies"]["items"]
        parent["reply_count"] += 1
    if siblings and siblings[-1]["id"] > comment["id"]:
        return False
    siblings.append({**comment, "replies": {"items": [], "next": None}})
    return len(tops) <= limit and _has_room(tops, limit)


def _has_room(tops: Sequence[Json], limit: int) -> bool:
    """Return whether everything below each of the entries finds room in its share of the page."""
    below = [sum(1 for _ in _with_all_below(top)) - 1 for top in tops]
    opened = sum(1 for count in below if count)
    return not opened or max(below) <= (room_of_page(limit) - len(tops)) // opened


def _with_all_below(top: Json) -> Iterator[Json]:
    """Yield a comment, and all below it."""
    waiting = [top]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += node["replies"]["items"]
