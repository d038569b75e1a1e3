"""Addresses that posts had elsewhere, in the one form in which they are kept, looked up and compared."""

import re
from urllib.parse import parse_qsl, unquote

from services.contracts.normal_form import nfc

LONGEST = 1000  # characters of an address that is kept or looked up
LONGEST_ENCODED = 12 * LONGEST  # of its path: a character takes at most four bytes, each written as three characters
NUMBER = re.compile(r"[0-9]{1,19}")
CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
INDEX = "index.php"
# Parts of a post that had addresses of their own below it.
BELOW = re.compile(r"/(?:comment-page-[0-9]+|feed(?:/[a-z0-9]+)?|trackback|amp|embed|page/[0-9]+|[0-9]{1,3})$")


def normal_address(address: str) -> str | None:
    """Return a path with its query, percent-encoded or not, in normal form; None if it is no address of a post.

    Case, encoding, doubled and outer slashes, `.`, `..` and `index.php` make no difference. Of the query only the
    number of a post counts (`p`, `page_id`).
    """
    path, _, query = address.partition("#")[0].partition("?")
    if len(path) > LONGEST_ENCODED:
        return None
    parts: list[str] = []
    for part in unquote(path, errors="replace").split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(nfc(nfc(part).casefold()))
    normal = "/" + "/".join(part for part in parts if part != INDEX)
    if number := _number(query):
        normal += f"?p={number}"
    return None if normal == "/" or len(normal) > LONGEST or CONTROL.search(normal) else normal


def _number(query: str) -> str:
    """Return the number of a post in a query, without leading zeros."""
    if "p" not in query:
        return ""
    pairs = dict(parse_qsl(query.replace("&amp;", "&")[:LONGEST]))
    number = (pairs.get("p") or pairs.get("page_id") or "").rstrip("/")
    return str(int(number)) if NUMBER.fullmatch(number) and int(number) else ""


def possible_addresses(address: str) -> list[str]:
    """Return the normal forms that an address may be kept under, most probable first.

    The address of a page of comments, a feed or another part below a post is that of the post, too.
    """
    normal = normal_address(address)
    if normal is None:
        return []
    path = normal.partition("?")[0]
    return [one for one in dict.fromkeys((normal, path, BELOW.sub("", path))) if one not in ("", "/")]
