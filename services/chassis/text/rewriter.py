"""The one pass over HTML before the sanitiser: headings, links and pictures become what the site shows.

What may not stay is left out here, so that the sanitiser has nothing to decide; it decides all the same.
"""

import re
from collections.abc import Collection, Mapping
from html import escape
from typing import Literal

from services.chassis.text.builder import HEADINGS, Builder
from services.chassis.text.links import file_name, picture_host, safe_url
from services.chassis.text.sanitiser import ALLOWED, ATTRIBUTES, GONE_WITH_CONTENT
from services.chassis.text.tokens import Tag, resolved, tokens
from services.contracts.characters import is_visible, without_unwanted

Kind = Literal["comment", "post"]

MAX_PICTURES = 50
LEVELS_ABOVE = {"comment": 2, "post": 1}  # the headings of the page that a text stands under
EMPTY = frozenset(("embed", "frame"))  # of what is left out with its content, those without any
VOID = frozenset(("br", "hr", "img"))
LAZY = {"loading": "lazy", "referrerpolicy": "no-referrer"}
ALIGNMENTS = frozenset(("left", "center", "right"))
# The sanitiser takes quadratic time for references in one text. It leaves out comments, but they divide the text.
REFERENCES = re.compile(r"(?:&[^&]*+){100}")
# References to characters that no field may hold: they were no characters when the field was checked.
NUMERIC = re.compile(r"&#(?:[xX]0*+[0-9a-fA-F]{1,6}+(?![0-9a-fA-F])|0*+[0-9]{1,7}+(?![0-9]));?")
HTML_ATTRIBUTES = {name: attributes - {"aria-label", "id"} for name, attributes in ATTRIBUTES.items()}


class Rewriter:
    """One pass over HTML as others have written it.

    Args:
        picture_hosts: whose pictures a comment may show.
        most: how many characters of HTML there may be.
    """

    def __init__(self, kind: Kind, picture_hosts: Collection[str], most: int) -> None:
        self.is_visible = False
        self._kind = kind
        self._picture_hosts = picture_hosts
        self._pictures = 0
        self._builder = Builder(most)
        self._gone: str | None = None  # the element that is left out with what it contains

    def rewrite(self, html: str) -> str:
        """Return the HTML, well-formed; `is_visible` says afterwards whether anything of it can be seen.

        Raises:
            Refused: it is nested too deeply or too large.
        """
        for token in tokens(html):
            if self._gone is not None:
                if not isinstance(token, str) and token.closes and token.name == self._gone:
                    self._gone = None
            elif isinstance(token, str):
                text = token if token.isascii() and "&#" not in token else readable(token)
                if not self.is_visible:
                    self.is_visible = is_visible(resolved(text))
                self._text(text)
            elif token.closes:
                self._end(self._shown_name(token.name))
            elif token.name in GONE_WITH_CONTENT:
                self._gone = None if token.name in EMPTY or token.source.endswith("/") else token.name
            elif token.name in ALLOWED:
                self._start(self._shown_name(token.name), token)
        return self._builder.finished()

    def _shown_name(self, name: str) -> str:
        """Return the name of the element that is written: no heading stands above those of the page."""
        if name in HEADINGS:
            return HEADINGS[max(HEADINGS.index(name), LEVELS_ABOVE[self._kind])]
        return name

    def _text(self, text: str) -> None:
        if self._builder.is_between_cells():
            if text.isspace():
                return
            self._builder.open_cell()
        self._builder.write(REFERENCES.sub(r"\g<0><!---->", text.replace("<", "&lt;")))

    def _start(self, name: str, tag: Tag) -> None:
        if name == "input" or not self._builder.make_room(name):
            return
        attributes = tag.attributes() if tag.source else {}
        if name == "img":
            self._picture(attributes)
        elif name in VOID:
            self._builder.write(f"<{name}>")
        elif name == "a":
            self._link(attributes)
        else:
            kept = written({key: attributes[key] for key in HTML_ATTRIBUTES.get(name, ()) if key in attributes})
            self._builder.start(name, kept + alignment(name, attributes))

    def _end(self, name: str) -> None:
        self._builder.end(name)

    def _link(self, attributes: dict[str, str]) -> None:
        """Open a link, if its address may be linked; else its text stays."""
        if (url := safe_url(attributes.get("href", ""))) is not None:
            self._builder.start("a", written({"href": url, "title": attributes.get("title")}))

    def _picture(self, attributes: dict[str, str]) -> None:
        """Write a picture, or a link to it: readers fetch no pictures from wherever a comment wants them to."""
        url = safe_url(attributes.get("src", ""))
        description = attributes.get("alt", "")
        self.is_visible = self.is_visible or url is not None or is_visible(description)
        is_fetched = url is not None and (self._kind == "post" or picture_host(url) in self._picture_hosts)
        if is_fetched and self._pictures < MAX_PICTURES:
            self._pictures += 1
            shown = {"src": url, "alt": description}
            shown |= {key: attributes[key] for key in ("title", "width", "height") if key in attributes}
            self._builder.write(f"<img{written(shown | LAZY)}>")
            return
        text = escape(description if is_visible(description) or url is None else file_name(url))
        if url is None or "a" in self._builder.open:
            self._builder.write(text)
        else:
            link = {"href": url, "class": "picture", "title": attributes.get("title")}
            self._builder.write(f"<a{written(link)}>{text}</a>")


def readable(text: str) -> str:
    """Return text of HTML without characters that no field may hold, however they are written."""
    if "&#" in text:
        text = NUMERIC.sub(_wanted, text)
    return without_unwanted(text)


def _wanted(reference: re.Match[str]) -> str:
    return reference[0] if without_unwanted(resolved(reference[0])) else ""


def written(attributes: Mapping[str, str | None]) -> str:
    """Return attributes as they stand in a tag; those without a value are left out."""
    return "".join(f' {name}="{escape(value)}"' for name, value in attributes.items() if value is not None)


def alignment(name: str, attributes: dict[str, str]) -> str:
    """Return the class of an aligned cell."""
    align = attributes.get("align", "").lower()
    return f' class="align-{align}"' if name in ("td", "th") and align in ALIGNMENTS else ""
