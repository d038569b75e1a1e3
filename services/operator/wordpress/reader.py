"""Read a WordPress export as a stream: channel, authors, items with their comments, one at a time.

The parser ignores namespaces on purpose. Exports declare `http://` or `https://`, 1.0, 1.1 or 1.2, and some do not
declare a prefix at all; the role of an element follows from the declaration of its prefix, else from the prefix itself.
Everything a hostile file could use is refused: document types, hence entities of its own, and unbounded nesting, tokens
and items. HTML's entities are known.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.entities import html5
from pathlib import Path
from xml.parsers import expat

from services.operator.failures import Failed
from services.operator.wordpress.source import documents

MOST_NESTED = 50
MOST_PENDING = 32 * 1024 * 1024  # bytes of one unfinished token
MOST_TEXT = 64 * 1024 * 1024  # characters of one item with its comments
RECORD_SIZE = 200  # the size of an empty comment, so that their number is bounded too

ROLES = (
    (re.compile(r".*/export/\d[\d.]*/excerpt/?"), "excerpt"),
    (re.compile(r".*/export/\d[\d.]*/?"), "wp"),
    (re.compile(r"https?://purl\.org/rss/1\.0/modules/content/?"), "content"),
    (re.compile(r"https?://purl\.org/dc/elements/1\.\d/?"), "dc"),
)

CHOSEN = ("category", "post_tag")

WANTED = {
    ("rss", "channel"): {"title", "link", "pubDate", "wp:wxr_version", "wp:base_site_url", "wp:base_blog_url"},
    ("rss", "channel", "wp:author"): {
        *("wp:author_id", "wp:author_login", "wp:author_email", "wp:author_display_name"),
    },
    ("rss", "channel", "item"): {
        *("title", "link", "guid", "pubDate", "dc:creator", "content:encoded", "excerpt:encoded", "wp:post_id"),
        *("wp:post_date", "wp:post_date_gmt", "wp:comment_status", "wp:post_name", "wp:status", "wp:post_type"),
        *("wp:post_password", "wp:post_parent", "wp:attachment_url", "category"),
    },
    ("rss", "channel", "item", "wp:comment"): {
        *("wp:comment_id", "wp:comment_author", "wp:comment_author_email", "wp:comment_date", "wp:comment_date_gmt"),
        *("wp:comment_content", "wp:comment_approved", "wp:comment_type", "wp:comment_parent", "wp:comment_user_id"),
    },
}


@dataclass
class Record:
    """One element and the text of its children by name, such as `wp:post_id`; the first of equal names counts.

    Attributes:
        categories: of an item, and its tags.
    """

    kind: str
    fields: dict[str, str] = field(default_factory=dict)
    comments: list["Record"] = field(default_factory=list)
    categories: list[str] = field(default_factory=list)

    def get(self, name: str) -> str:
        return self.fields.get(name, "").strip()


def records(path: Path) -> Iterator[Record]:
    """Yield each author and each item in file order, and once the channel, complete before the first item.

    Raises:
        Failed: the file is unreadable, not XML, not a WordPress export, or hostile.
    """
    try:
        for document in documents(path):
            parser = _Parser()
            for data in document:
                parser.feed(data)
                yield from parser.completed()
            parser.end()
            yield from parser.completed()
    except expat.ExpatError as error:
        reason = expat.errors.messages.get(error.code, "broken XML")
        raise Failed(f"{path} is not a whole XML file: {reason}, line {error.lineno}.") from error
    except _Refused as error:
        raise Failed(f"{path} {error}.") from error


class _Refused(Exception):
    """The error of a file, as the end of a sentence that begins with the file's name."""


class _Parser:
    """Expat with handlers that keep the wanted texts only."""

    def __init__(self) -> None:
        self._expat = expat.ParserCreate("utf-8")
        self._expat.buffer_text = True
        self._expat.StartDoctypeDeclHandler = _refuse_doctype
        self._expat.EntityDeclHandler = _refuse_doctype
        self._expat.ExternalEntityRefHandler = _refuse_doctype
        # Exports have HTML's entities outside CDATA: as if they were declared elsewhere, they come to our handler.
        self._expat.UseForeignDTD(True)
        self._expat.SkippedEntityHandler = self._entity
        self._expat.StartElementHandler = self._start
        self._expat.EndElementHandler = self._end
        self._expat.CharacterDataHandler = self._text
        self._fed = 0
        self._path: list[str] = []
        self._prefixes: list[tuple[int, dict[str, str]]] = []
        self._open: list[Record] = []  # channel, item or author, comment
        self._text_depth = 0  # depth of the element whose text is kept; 0 for none
        self._texts: list[str] = []
        self._size = 0
        self._channel_shown = False
        self._ready: list[Record] = []

    def feed(self, data: bytes) -> None:
        self._fed += len(data)
        self._expat.Parse(data, False)
        if self._fed - self._expat.CurrentByteIndex > MOST_PENDING:
            raise _Refused("contains a tag or comment that does not end")

    def end(self) -> None:
        self._expat.Parse(b"", True)

    def completed(self) -> list[Record]:
        """Return the records that were completed since the last call."""
        ready, self._ready = self._ready, []
        return ready

    def _name(self, name: str) -> str:
        prefix, colon, local = name.rpartition(":")
        for _, declared in reversed(self._prefixes if colon else []):
            if prefix in declared:
                return f"{declared[prefix]}:{local}"
        return name

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._path) >= MOST_NESTED:
            raise _Refused("is nested deeper than any WordPress export")
        if not self._path and name != "rss":
            raise _Refused(f"is not a WordPress export: it begins with <{name[:40]}>, not with <rss>")
        if declared := _declared(attributes):
            self._prefixes.append((len(self._path), declared))
        parent = tuple(self._path)
        self._path.append(self._name(name))
        if self._text_depth:
            return
        if tuple(self._path) in WANTED:
            self._begin(Record(self._path[-1].removeprefix("wp:")))
        elif self._path[-1] in WANTED.get(parent, ()) and _is_wanted(name, attributes):
            self._text_depth = len(self._path)

    def _begin(self, record: Record) -> None:
        if record.kind == "item":
            self._show_channel(self._open[0])
        self._size = self._size + RECORD_SIZE if record.kind == "comment" else 0
        self._open.append(record)

    def _show_channel(self, channel: Record) -> None:
        if not self._channel_shown:
            self._channel_shown = True
            self._ready.append(channel)

    def _text(self, text: str) -> None:
        if self._text_depth:
            self._size += len(text)
            if self._size > MOST_TEXT:
                raise _Refused("contains an item that is too large")
            self._texts.append(text)

    def _entity(self, name: str, is_parameter: bool) -> None:
        if not is_parameter:
            self._text(html5.get(f"{name};", f"&{name};"))

    def _end(self, _: str) -> None:
        if self._text_depth == len(self._path):
            text = "".join(self._texts)
            if self._path[-1] == "category":
                self._open[-1].categories.append(text)
            else:
                self._open[-1].fields.setdefault(self._path[-1], text)
            self._texts, self._text_depth = [], 0
        elif not self._text_depth and tuple(self._path) in WANTED:
            self._complete(self._open.pop())
        self._path.pop()
        if self._prefixes and self._prefixes[-1][0] == len(self._path):
            self._prefixes.pop()

    def _complete(self, record: Record) -> None:
        if record.kind == "comment":
            self._open[-1].comments.append(record)
        elif record.kind == "channel":
            self._show_channel(record)
        else:
            self._ready.append(record)


def _refuse_doctype(*_: object) -> int:
    raise _Refused("declares a document type, which no WordPress export does; reading stopped there")


def _is_wanted(name: str, attributes: dict[str, str]) -> bool:
    """Return whether an element is kept: of what WordPress calls categories, those that an author chose, and tags."""
    if name != "category":
        return True
    return attributes.get("domain") in CHOSEN and attributes.get("nicename") != "uncategorized"


def _declared(attributes: dict[str, str]) -> dict[str, str]:
    """Return the prefixes that an element declares with their roles; an unknown URI's role is the prefix itself."""
    roles = {}
    for attribute, uri in attributes.items():
        prefix = attribute.removeprefix("xmlns:")
        if prefix != attribute:
            roles[prefix] = next((role for known, role in ROLES if known.fullmatch(uri.strip())), prefix)
    return roles
