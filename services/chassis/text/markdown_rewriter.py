"""The pass over the parser's HTML of Markdown, which has positions in the source.

It also ends bare addresses where people end them, and gives footnotes ids that no other text on the page has.
"""

import re
from collections.abc import Collection
from html import escape

from services.chassis.text.builder import HEADINGS
from services.chassis.text.links import BARE, CAPITAL, bare_end, percent_encoded, safe_url, trimmed_end
from services.chassis.text.rewriter import LEVELS_ABOVE, VOID, Kind, Rewriter, alignment, written
from services.chassis.text.tokens import Tag, resolved

WITH_ATTRIBUTES = frozenset(("a", "img", "input", "li", "ol", "section", "sup", "td", "th", "ul"))
PLACED, POSITION = frozenset(("li", "ol", "td", "th", "ul")), ' data-sourcepos="'  # most of these have nothing else
MAX_WAYS_BACK = 10  # from one footnote
BOX = {"type": "checkbox", "disabled": ""}
BESIDE_ADDRESSES = re.compile('[<>"]')
NOT_LINKED = frozenset(("a", "code", "pre"))
BARE_BEGINNINGS = ("http", "www.", "ftp", "HTTP", "Http", "WWW.", "Www.")


class MarkdownRewriter(Rewriter):
    """One pass over the parser's HTML of Markdown, with positions in the source.

    Args:
        source: the Markdown that the positions refer to.
        anchor: what makes the ids of footnotes unique on a page.
    """

    def __init__(self, kind: Kind, picture_hosts: Collection[str], most: int, source: str, anchor: str) -> None:
        super().__init__(kind, picture_hosts, most)
        self._lines = source.encode().split(b"\n")  # positions count bytes
        self._anchor = anchor
        self._ids: dict[str, str] = {}
        self._bare: tuple[str, str] | None = None  # address and position of a link whose text comes next
        self._typed_end = ""  # what the source has behind the text of an address that is not linked

    def _shown_name(self, name: str) -> str:
        """Return the name of the element that is written: the highest heading is the one below those of the page."""
        if name in HEADINGS:
            return HEADINGS[min(HEADINGS.index(name) + LEVELS_ABOVE[self._kind], 5)]
        return name

    def _text(self, text: str) -> None:
        builder = self._builder
        if self._bare is not None:
            self._bare_link(text, *self._bare)
            self._bare = None
        elif text.isspace() or (builder.open and builder.open[-1] != "blockquote"):
            if ("ww." in text or "WW." in text or "://" in text) and NOT_LINKED.isdisjoint(builder.open):
                text = CAPITAL.sub(_capital_link, text)
            builder.write(text)
        else:  # a block of raw HTML, which the parser writes without an element of its own
            builder.write("<p>" + text.strip("\n").replace("\n", "<br>\n") + "</p>\n")

    def _start(self, name: str, tag: Tag) -> None:
        if self._bare is not None:  # no bare address after all
            super()._link({"href": self._bare[0]})
            self._bare = None
        if name not in WITH_ATTRIBUTES:
            if name in VOID:
                self._builder.write(f"<{name}>")
            else:
                self._builder.start(name)
            return
        if name in PLACED and tag.source.startswith(POSITION) and tag.source.count("=") == 1:
            self._builder.start(name)
            return
        attributes = tag.attributes()
        if name == "img":
            self._picture(attributes)
        elif name == "input":
            state = {"checked": "", "aria-label": "done"} if "checked" in attributes else {"aria-label": "to do"}
            self._builder.write(f"<input{written(BOX | state)}>")
        elif name == "a":
            self._link(attributes)
        else:
            kept = {key: attributes.get(key) for key in ("class", "start")}
            own = written({**kept, "id": self._id(attributes.get("id"))})
            self._builder.start(name, own + alignment(name, attributes))

    def _end(self, name: str) -> None:
        self._builder.end(name)
        if name == "a" and self._typed_end:
            self._builder.write(self._typed_end)
            self._typed_end = ""

    def _link(self, attributes: dict[str, str]) -> None:
        href = attributes.get("href", "")
        if int(attributes.get("data-footnote-backref-idx", "").partition("-")[2] or 1) > MAX_WAYS_BACK:
            self._gone = "a"
            return
        if "data-footnote-ref" in attributes or "data-footnote-backref" in attributes:
            kept = {key: attributes.get(key) for key in ("class", "aria-label")}
            own = {"href": f"#{self._id(href[1:])}", "id": self._id(attributes.get("id"))}
            self._builder.start("a", written({**own, **kept}))
            return
        position = attributes.get("data-sourcepos", "")
        if safe_url(href) is None:
            if self._is_typed("<", position):
                self._builder.write("&lt;")
                self._typed_end = "&gt;"
        elif any(self._is_typed(beginning, position) for beginning in BARE_BEGINNINGS):
            self._bare = href, position
        else:
            super()._link(attributes)

    def _is_typed(self, text: str, position: str) -> bool:
        """Return whether the source has this text at a position such as `3:7-3:20`."""
        line, _, column = position.partition("-")[0].partition(":")
        if not column or int(line) > len(self._lines):
            return False
        return self._lines[int(line) - 1].startswith(text.encode(), int(column) - 1)

    def _bare_link(self, text: str, href: str, position: str) -> None:
        shown = resolved(text)
        end = bare_end(shown) if self._is_typed(shown, position) else len(shown)
        rest = percent_encoded(shown[end:])
        if not BARE.match(shown[:end]):
            self._builder.write(text)
        elif not href.endswith(rest):
            self._builder.write(f"<a{written({'href': href})}>{text}</a>")
        else:
            href = href[: len(href) - len(rest)]
            self._builder.write(f"<a{written({'href': href})}>{escape(shown[:end])}</a>{escape(shown[end:])}")

    def _id(self, parsers: str | None) -> str | None:
        """Return an id of our own for one of the parser's, which is made of what a person has written."""
        if parsers is None:
            return None
        kind = "fnref" if parsers.startswith("fnref-") else "fn"
        return self._ids.setdefault(parsers, f"{kind}-{self._anchor}-{len(self._ids) + 1}")


def _capital_link(address: re.Match[str]) -> str:
    """Return a link for an address in escaped text that begins with a capital letter."""
    text = resolved(address[0])
    shown = text[: found.start()] if (found := BESIDE_ADDRESSES.search(text)) else text
    end = trimmed_end(shown, bare_end(shown))
    beginning = address[1].lower()
    href = percent_encoded(("http://" if beginning == "www." else "") + beginning + shown[len(beginning) : end])
    if safe_url(href) is None:
        return address[0]
    return f"<a{written({'href': href})}>{escape(text[:end])}</a>{escape(text[end:])}"
