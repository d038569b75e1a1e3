"""Write feeds as Atom (RFC 4287), answers with the threading extension (RFC 4685)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import NAMESPACE_URL, uuid5
from xml.etree.ElementTree import Element, SubElement, tostring

MEDIA_TYPE = "application/atom+xml"
ATOM = "http://www.w3.org/2005/Atom"
THREADING = "http://purl.org/syndication/thread/1.0"
NEVER = "1970-01-01T00:00:00.000Z"  # the last change of what is empty
# what XML cannot hold, even escaped (XML 1.0, section 2.2)
NOT_XML = re.compile(r"[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Entry:
    """One entry of a feed.

    Attributes:
        id: a UUID.
        html: the whole text; None where only the summary is there.
        url: its page, against which the links of the text are resolved.
        answers: id and page of what it answers.
        discussion: the feed of what answers it, and how many that are.
    """

    id: str
    title: str
    url: str
    author: str
    published: str
    updated: str
    html: str | None
    summary: str | None = None
    tags: Sequence[str] = ()
    answers: tuple[str, str] | None = None
    discussion: tuple[str, int | None] | None = None


@dataclass(frozen=True)
class Feed:
    """A feed.

    Attributes:
        url: its own address.
        page: the page that shows the same.
        language: of the site's own words, such as `en`.
    """

    title: str
    url: str
    page: str
    entries: Sequence[Entry]
    subtitle: str = ""
    language: str = "en"


def written(feed: Feed) -> bytes:
    """Return the feed as an XML document."""
    root = Element("feed", {"xmlns": ATOM, "xmlns:thr": THREADING, "xml:lang": feed.language})
    _text(root, "id", f"urn:uuid:{uuid5(NAMESPACE_URL, feed.url)}")
    _text(root, "title", feed.title)
    if feed.subtitle:
        _text(root, "subtitle", feed.subtitle)
    _text(root, "updated", max((entry.updated for entry in feed.entries), default=NEVER))
    SubElement(root, "link", {"rel": "self", "type": MEDIA_TYPE, "href": feed.url})
    SubElement(root, "link", {"rel": "alternate", "type": "text/html", "href": feed.page})
    for entry in feed.entries:
        _add(root, entry)
    document: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _add(root: Element, entry: Entry) -> None:
    element = SubElement(root, "entry")
    _text(element, "id", f"urn:uuid:{entry.id}")
    _text(element, "title", entry.title)
    SubElement(element, "link", {"rel": "alternate", "type": "text/html", "href": entry.url})
    _text(SubElement(element, "author"), "name", entry.author)
    _text(element, "published", entry.published)
    _text(element, "updated", entry.updated)
    for tag in entry.tags:
        SubElement(element, "category", {"term": _xml(tag)})
    if entry.answers is not None:
        answered, page = entry.answers
        SubElement(element, "thr:in-reply-to", {"ref": f"urn:uuid:{answered}", "href": page, "type": "text/html"})
    if entry.discussion is not None:
        address, count = entry.discussion
        counted = {} if count is None else {"thr:count": str(count)}
        SubElement(element, "link", {"rel": "replies", "type": MEDIA_TYPE, "href": address, **counted})
    if entry.summary:
        _text(element, "summary", entry.summary)
    if entry.html is not None:
        _text(element, "content", entry.html, {"type": "html", "xml:base": entry.url})


def _text(parent: Element, name: str, text: str, attributes: dict[str, str] | None = None) -> None:
    SubElement(parent, name, attributes or {}).text = _xml(text)


def _xml(text: str) -> str:
    return NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
