"""Lead back to the page of ours that somebody came from: a post and the place in its discussion, never another site."""

import re
from urllib.parse import parse_qsl, urlencode

from services.contracts.ids import is_id
from services.gateway.pages.cookies import DRAFT_PATH

POST_PATH = re.compile(r"/posts/[A-Za-z0-9._~%-]{1,2000}(/edit)?")  # as `post_path` writes it
WRITE_PATH = "/write"
COMMENTS = ("comment", "thread", "reply_to", "quote", "said")
CURSOR = re.compile(r".{0,1024}", re.DOTALL)
PLACES = {
    "comments": CURSOR,
    "replies": CURSOR,
    "page": re.compile(r"[1-9][0-9]{0,8}"),
    "sort": re.compile("newest"),
}
LONGEST_QUERY = 4_096  # that is read
LONGEST = 3_500  # browsers keep 4 KiB of a cookie with its name and attributes (RFC 6265, 6.1)


def of_referrer(referrer: str, origin: str) -> str | None:
    """Return the address of our page that the `Referer` of a request names."""
    return our_page(referrer.removeprefix(origin)) if referrer.startswith(f"{origin}/") else None


def our_page(address: str) -> str | None:
    """Return an address on this site as it may be redirected to; None for anything but a post's page, its form or a
    draft.

    Of the query only what leads to a place in the discussion is kept; the fragment, which no `Referer` has, is made.
    """
    path, _, query = address.partition("#")[0].partition("?")
    if path in (DRAFT_PATH, WRITE_PATH):
        return path
    if not POST_PATH.fullmatch(path):
        return None
    place = _place(query) if len(query) <= LONGEST_QUERY else {}
    whole = f"{path}?{urlencode(place)}#{_anchor(place)}" if place else path
    return whole if len(whole) <= LONGEST else path


def _place(query: str) -> dict[str, str]:
    place = {}
    for name, value in parse_qsl(query):
        if name in COMMENTS and is_id(value):
            place[name] = value.lower()
        elif name in PLACES and PLACES[name].fullmatch(value):
            place[name] = value
    return place


def _anchor(place: dict[str, str]) -> str:
    answered = place.get("reply_to") or place.get("quote")
    if answered:
        return f"reply-{answered}"
    comment = place.get("said") or place.get("comment") or place.get("thread")
    return f"c-{comment}" if comment else "comments"
