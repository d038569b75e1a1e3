"""Let links inside the blog lead to where its posts are now.

Addresses are compared in the form in which posts keeps them, under a host without `www.`: with or without a slash at
the end, by number or by name, http or https.
"""

import re
from collections.abc import Iterator
from html import escape
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from services.chassis.text.links import ADDRESS, address_end
from services.chassis.text.tokens import ATTRIBUTE, RAW, TAG, raw_end, resolved
from services.contracts.links import comment_path, post_path
from services.contracts.old_addresses import possible_addresses
from services.operator.wordpress.reader import Record

LINKS = frozenset(("href", "src", "data", "poster", "longdesc", "cite"))
MARKUP = re.compile(r"[<>\"]")  # of a tag whose quotation marks are out of order
UPWARDS = re.compile(r"(?:\.\.?/)+")
TO_COMMENT = re.compile(r"#(?:(?:li|div)-)?comment-([0-9]{1,20})(?![\w-])")
TARGET = re.compile(r"""\s(?:id|name)\s*+=\s*+["']?([^\s"'<>]++)""", re.IGNORECASE)
NO_LINKS = frozenset(("a", "pre", "code"))


def addresses_of(item: Record, blog: str) -> list[str]:
    """Return the whole addresses of an item: its own, the permanent one, and that of its number."""
    given = [item.get("link"), item.get("guid")]
    if number := item.get("wp:post_id"):
        given.append(f"{blog.rstrip('/')}/?p={number}")
    return [one for one in dict.fromkeys(given) if one.lower().startswith(("http://", "https://"))]


def path_of(address: str) -> str | None:
    """Return the path and the query of an address; None if it is none."""
    try:
        parts = urlsplit(address.strip())
    except ValueError:
        return None
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


class _Comment(NamedTuple):
    slug: str
    id: str


class Places:
    """Where the posts of a blog are now, and those of its comments that links lead to."""

    def __init__(self) -> None:
        self._slugs: dict[str, str] = {}
        self._comments: dict[str, _Comment] = {}

    def add(self, address: str, slug: str) -> None:
        """Note the slug of the post that had an address; the first one counts."""
        for key in _keys(address)[:1]:
            self._slugs.setdefault(key, slug)

    def add_comment(self, number: str, slug: str, comment_id: str) -> None:
        """Note the id of the comment that had a number in the blog, and the slug of its post."""
        self._comments[number] = _Comment(slug, comment_id)

    def find(self, *addresses: str) -> str | None:
        """Return the path of the page that one of the addresses leads to now; None if none is a post's of the blog.

        The address of a post itself counts before one below it, such as that of a page of its comments. The fragment of
        the first address may name a comment of the post.
        """
        keys = [_keys(address) for address in addresses]
        likely = [key for each in keys for key in each[:1]] + [key for each in keys for key in each[1:]]
        slug = next((self._slugs[key] for key in likely if key in self._slugs), None)
        if slug is None:
            return None
        linked = TO_COMMENT.search(addresses[0])
        comment = self._comments.get(linked[1]) if linked else None
        return comment_path(*comment) if comment is not None and comment.slug == slug else post_path(slug)

    def find_comment(self, address: str) -> str | None:
        """Return the address of the comment that an address leads to; None if it leads to none that is known."""
        found = self.find(address) if self._comments and TO_COMMENT.search(address) else None
        return found if found is not None and "#" in found else None


def comments_linked_in(html: str) -> set[str]:
    """Return the numbers of the comments that links in a text lead to."""
    return set(TO_COMMENT.findall(html)) if "#" in html else set()


def _keys(address: str) -> list[str]:
    try:
        host = urlsplit(address).netloc.rpartition("@")[2].lower().removeprefix("www.")
    except ValueError:
        return []
    return [host + normal for normal in possible_addresses(path_of(address) or "")] if host else []


def with_new_links(html: str, base: str, places: Places) -> str:
    """Return HTML in which links lead to the new places of posts, and all others stay as they are.

    Relative ones, which mean nothing here, become whole addresses.

    Args:
        base: the address at which the HTML stood; without one, relative addresses stay.
    """
    out: list[str] = []
    open_elements = dict.fromkeys(NO_LINKS, 0)
    targets = set(TARGET.findall(html)) if "#" in html else set[str]()
    for text, tag, is_kept in _pieces(html):
        if tag is None:
            is_kept = is_kept or any(open_elements.values()) or ADDRESS.search(text) is None
            out.append(text if is_kept else _with_links(text, places))
            continue
        name = tag[2].lower()
        if name in open_elements:
            open_elements[name] = max(0, open_elements[name] + (-1 if tag[1] else 1))
        out.append(text if tag[1] else _with_new_address(tag[2], tag[3], base, places, targets))
    return "".join(out)


def _pieces(html: str) -> Iterator[tuple[str, re.Match[str] | None, bool]]:
    """Yield tags with their match, text, and with True what is kept: comments and what elements without markup hold."""
    position = begin = 0
    last_end = html.rfind("-->")
    missing: set[str] = set()
    while (position := html.find("<", position)) >= 0:
        if html.startswith("<!--", position) and position < last_end:
            yield html[begin:position], None, False
            begin, position = position, html.find("-->", position) + 3
            yield html[begin:position], None, True
            begin = position
            continue
        tag = TAG.match(html, position)
        if tag is None or not tag[4]:
            position = tag.end() if tag else position + 1
            continue
        yield html[begin:position], None, False
        yield tag[0], tag, False
        position = begin = tag.end()
        if tag[2].lower() in RAW and not tag[1]:
            position = raw_end(html, tag[2].lower(), begin, missing)
            yield html[begin:position], None, True
            begin = position
    yield html[begin:], None, False


def _with_new_address(name: str, attributes: str, base: str, places: Places, targets: set[str]) -> str:
    out: list[str] = []
    position = 0
    for found in ATTRIBUTE.finditer(attributes):
        value = found[2] or found[3] or found[4]
        if found[1].lower() not in LINKS or not value:
            continue
        address = resolved(value).strip()
        new = _new(address, base, places)
        target = address.partition("#")[2]
        if target in targets and new == places.find(base):
            new = f"#{target}"  # inside the same text
        if new != address:
            out += [attributes[position : found.start()], f'{found[1]}="{escape(new)}"']
            position = found.end()
    return f"<{name}{''.join(out)}{attributes[position:]}>"


def _new(address: str, base: str, places: Places) -> str:
    """Return where the post or comment is that an address leads to, else the whole address; unchanged if it is none."""
    if not address or MARKUP.search(address):
        return address
    if address.startswith("#"):
        return places.find_comment(base + address) or address
    try:
        whole = urljoin(base, address) if base else address
        if urlsplit(whole).scheme not in ("http", "https"):
            return address
    except ValueError:
        return address
    if "://" in address.partition("?")[0] or address.startswith("//"):
        return places.find(whole) or address
    return places.find(whole, *_elsewhere(address, base)) or whole


def _elsewhere(address: str, base: str) -> Iterator[str]:
    """Yield what a relative address means on pages above its own: a post was shown on the front page, too."""
    rest = UPWARDS.sub("", address)
    above = base.partition("?")[0]
    if rest.startswith("/") or "://" not in above:
        return
    while (above := above.rstrip("/").rpartition("/")[0] + "/").count("/") >= 3:
        yield urljoin(above, rest)


def _with_links(text: str, places: Places) -> str:
    """Return text in which bare addresses of posts are links to where they are now; the words stay."""
    out: list[str] = []
    position = 0
    for found in ADDRESS.finditer(text):
        length = address_end(found[0])
        shown = found[0][:length]
        new = places.find(resolved(shown) if "://" in shown else f"http://{resolved(shown)}") if length else None
        if new is not None:
            out += [text[position : found.start()], f'<a href="{escape(new)}">{shown}</a>']
            position = found.start() + length
    return "".join(out) + text[position:]
