"""The one pass over HTML before the sanitiser: headings, links and pictures become what the site shows.

What may not stay is left out here, so that the sanitiser has nothing to decide; it decides all the same.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from html import escape
from typing import Literal

from services.chassis.text.builder import HEADINGS, MAX_NESTING, Builder
from services.chassis.text.fragments import names_of, new_fragment
from services.chassis.text.links import ADDRESS, address_end, picture_host, picture_name, safe_url
from services.chassis.text.sanitiser import ALLOWED, ATTRIBUTES
from services.chassis.text.tokens import Tag, resolved, tokens
from services.chassis.text.words import BLOCKS
from services.contracts.characters import is_visible, without_unwanted

Kind = Literal["comment", "post"]

MAX_PICTURES = 50
DEEPEST = MAX_NESTING - 4  # deeper elements are left out, their words are not; cells may have to be opened for them
LEVELS_ABOVE = {"comment": 2, "post": 1}  # the headings of the page that a text stands under
LEFT_OUT = frozenset(("script", "style"))  # with their content: it is nothing to read
# Elements whose words stay although they do not: what ends a line or a block goes on doing so.
SHOWN_AS = {
    **dict.fromkeys(("article", "aside", "button", "fieldset", "footer", "form", "header", "hgroup", "legend"), "div"),
    **dict.fromkeys(("dialog", "main", "marquee", "nav", "noembed", "noframes", "noscript"), "div"),
    **dict.fromkeys(("search", "section", "title"), "div"),
    **dict.fromkeys(("listing", "plaintext", "textarea", "xmp"), "pre"),
    **dict.fromkeys(("optgroup", "option"), "br"),
    **dict.fromkeys(("dir", "menu"), "ul"),
    "acronym": "abbr",
}
# Where elements that are not shown keep the address of what they would show; the first one counts.
ADDRESSES = {
    **dict.fromkeys(("audio", "embed", "frame", "iframe", "source", "track", "video"), ("src", "data-src")),
    "applet": ("archive",),
    "area": ("href",),
    "object": ("data",),
    "param": ("value",),
}
PARAMETERS = frozenset(("file", "filename", "movie", "src", "url"))  # of an object, those that hold an address
PLAYERS = frozenset(("audio", "object", "video"))
IN_BRACKETS = re.compile(r"(?:https?|ftp):|[^@]+@[^@]+\.")  # an address as people write it: `<http://…>`
NO_LINKS = frozenset(("a", "code", "pre"))
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
        targets: the ids to be written for those that links in the HTML lead to; without them such links stay.
    """

    def __init__(
        self, kind: Kind, picture_hosts: Collection[str], most: int, targets: dict[str, str] | None = None
    ) -> None:
        self.is_visible = False
        self._kind = kind
        self._picture_hosts = picture_hosts
        self._pictures = 0
        self._builder = Builder(most)
        self._gone: str | None = None  # the element that is left out with what it contains
        self._players = 0  # how many are open: their addresses are often said twice
        self._addresses: set[str] = set()  # of the outermost player
        self._targets = targets
        self._unmarked = dict(targets or {})  # targets that have not come yet
        self._marks: list[str] = []  # ids of those that have come, for the next place where they may stand
        self._is_broken = False  # whether a line was broken for an element left out, and nothing came since

    def rewrite(self, html: str) -> str:
        """Return the HTML, well-formed; `is_visible` says afterwards whether anything of it can be seen.

        Raises:
            Refused: it is nested too deeply or too large.
        """
        for token in self._noted(html) if self._unmarked else tokens(html):
            if self._gone is not None:
                if not isinstance(token, str) and token.closes and token.name == self._gone:
                    self._gone = None
            elif isinstance(token, str):
                text = token if token.isascii() and "&#" not in token else readable(token)
                if not self.is_visible and not text.isspace():
                    self.is_visible = is_visible(resolved(text))
                self._text(text)
            elif token.closes:
                self._players -= token.name in PLAYERS and self._players > 0
                self._end(self._shown_name(token.name))
            elif token.name in LEFT_OUT:
                self._gone = None if token.source.endswith("/") else token.name
            elif token.name in ADDRESSES:
                self._media(token)
            elif (name := self._shown_name(token.name)) in ALLOWED:
                self._start(name, token)
            elif IN_BRACKETS.match(name):
                self._text(f"&lt;{name}{token.source}&gt;")
        return self._builder.finished() + "".join(map(_mark, self._marks))

    def _noted(self, html: str) -> Iterator[Tag | str]:
        """Yield the tokens, and note the targets among them."""
        for token in tokens(html):
            if self._unmarked and isinstance(token, Tag) and not token.closes and token.source:
                self._marks += [self._unmarked.pop(name) for name in names_of(token) if name in self._unmarked]
            yield token

    def _write_marks(self) -> None:
        if self._marks and "a" not in self._builder.open:
            self._builder.write("".join(map(_mark, self._marks)))
            self._marks.clear()

    def _shown_name(self, name: str) -> str:
        """Return the name of the element that is written: no heading stands above those of the page."""
        if name in HEADINGS:
            return HEADINGS[max(HEADINGS.index(name), LEVELS_ABOVE[self._kind])]
        return SHOWN_AS.get(name, name)

    def _text(self, text: str) -> None:
        if self._builder.is_between_cells():
            if text.isspace():
                return
            self._builder.open_cell()
        if self._is_broken or self._marks:
            self._is_broken = self._is_broken and text.isspace()
            if not text.isspace():
                self._write_marks()
        if ADDRESS.search(text) is None or not NO_LINKS.isdisjoint(self._builder.open):
            self._builder.write(_divided(text.replace("<", "&lt;")))
        else:
            self._text_with_links(resolved(text))

    def _text_with_links(self, text: str) -> None:
        """Write text in which bare addresses become links."""
        position = 0
        for found in ADDRESS.finditer(text):
            shown = found[0][: address_end(found[0])]
            href = shown if "://" in shown else f"http://{shown}"
            if not shown or safe_url(href) is None:
                continue
            self._builder.write(_divided(escape(text[position : found.start()], quote=False)))
            self._builder.write(f"<a{written({'href': href})}>{_divided(escape(shown))}</a>")
            position = found.start() + len(shown)
        self._builder.write(_divided(escape(text[position:], quote=False)))

    def _media(self, tag: Tag) -> None:
        """Write a link to what an element would play or frame; what stands in it for others is kept as text."""
        attributes = tag.attributes()
        if self._players == 0:
            self._addresses.clear()
        self._players += tag.name in PLAYERS and not tag.source.endswith("/")
        if tag.name == "param" and attributes.get("name", "").lower() not in PARAMETERS:
            return
        url = next((attributes[name].strip() for name in ADDRESSES[tag.name] if attributes.get(name)), "")
        if url in self._addresses or safe_url(url) is None:
            return
        self._addresses.add(url)
        self.is_visible = True
        self._is_broken = False
        self._builder.make_room("img")
        text = escape(attributes.get("title") or attributes.get("alt") or url)
        is_linked = "a" in self._builder.open
        self._builder.write(f" {text} " if is_linked else f" <a{written({'href': url})}>{text}</a> ")

    def _start(self, name: str, tag: Tag) -> None:
        if len(self._builder.open) >= DEEPEST and name not in VOID:
            if name not in BLOCKS:
                return
            name = "br"
        if name == "br" != tag.name:
            if self._is_broken:
                return
            self._is_broken = True
        elif name == "img":
            self._is_broken = False
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
        url = safe_url(attributes.get("href", ""))
        if self._targets is not None and url is not None and url.startswith("#"):
            url = new_fragment(url, self._targets)
        self._write_marks()
        if url is not None:
            self._builder.start("a", written({"href": url, "title": attributes.get("title")}))

    def _picture(self, attributes: dict[str, str]) -> None:
        """Write a picture, or a link to it: readers fetch no pictures from wherever a comment wants them to."""
        url = safe_url(attributes.get("src", ""))
        description = attributes.get("alt", "")
        self.is_visible = self.is_visible or url is not None or is_visible(description)
        self._write_marks()
        is_fetched = url is not None and (self._kind == "post" or picture_host(url) in self._picture_hosts)
        if is_fetched and self._pictures < MAX_PICTURES:
            self._pictures += 1
            shown = {"src": url, "alt": description}
            shown |= {key: attributes[key] for key in ("title", "width", "height") if key in attributes}
            self._builder.write(f"<img{written(shown | LAZY)}>")
            return
        text = escape(picture_name(description, url))
        if url is None or "a" in self._builder.open:
            self._builder.write(text)
        else:
            link = {"href": url, "class": "picture", "title": attributes.get("title")}
            self._builder.write(f"<a{written(link)}>{text}</a>")


def _mark(own_id: str) -> str:
    return f'<a id="{own_id}"></a>'


def readable(text: str) -> str:
    """Return text of HTML without characters that no field may hold, however they are written."""
    if "&#" in text:
        text = NUMERIC.sub(_wanted, text)
    return without_unwanted(text)


def _wanted(reference: re.Match[str]) -> str:
    return reference[0] if without_unwanted(resolved(reference[0])) else ""


def _divided(text: str) -> str:
    """Return escaped text with comments between many references."""
    return REFERENCES.sub(r"\g<0><!---->", text) if "&" in text else text


def written(attributes: Mapping[str, str | None]) -> str:
    """Return attributes as they stand in a tag; those without a value are left out."""
    return "".join(f' {name}="{escape(value)}"' for name, value in attributes.items() if value is not None)


def alignment(name: str, attributes: dict[str, str]) -> str:
    """Return the class of an aligned cell."""
    align = attributes.get("align", "").lower()
    return f' class="align-{align}"' if name in ("td", "th") and align in ALIGNMENTS else ""
