"""Split HTML into tags and text in linear time, whatever it is."""

import re
from collections.abc import Iterator
from html import unescape
from typing import NamedTuple

from services.contracts.characters import without_unwanted

# No alternative gives back what it took, so a tag that never ends is read once. A quotation mark begins a value only
# after `=`; one without its partner is an ordinary character, so that it swallows no text.
TAG = re.compile(
    r"""<(/?)([a-zA-Z][^\s/<>]*+)((?:=\s*+(?:"[^"]*+"|'[^']*+')|[^<>])*+)(>?)""",
)
ATTRIBUTE = re.compile(r"""([^\s"'<>/=]++)(?:\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s>]++)))?+""")

LONG_REFERENCE = re.compile(r"&#([0-9]{20,}+);?")
# What stands in these is no markup until their own end tag. What browsers show only in place of a frame is read as
# markup, because here it is shown.
RAW = frozenset(("plaintext", "script", "style", "textarea", "title", "xmp"))
UNSEEN = frozenset(("script", "style"))


class Tag(NamedTuple):
    """A tag, with its name in lower case.

    Attributes:
        source: its attributes as they are written.
        end: where it ends.
    """

    name: str
    closes: bool
    source: str
    end: int

    def attributes(self) -> dict[str, str]:
        """Return the attributes, the first of each name, with references resolved and no unwanted characters."""
        found: dict[str, str] = {}
        is_plain = self.source.isascii() and "&" not in self.source
        for name, double, single, bare in ATTRIBUTE.findall(self.source):
            value = double or single or bare
            found.setdefault(name.lower(), value if is_plain else without_unwanted(resolved(value)))
        return found


def resolved(text: str) -> str:
    """Return text of HTML with references such as `&amp;` resolved.

    Python refuses to read a number of more than 4,300 digits, so long ones are shortened first.
    """
    return unescape(LONG_REFERENCE.sub(_short, text) if "&#" in text else text)


def _short(reference: re.Match[str]) -> str:
    digits = reference[1].lstrip("0")
    return f"&#{digits};" if 0 < len(digits) <= 7 else "\ufffd"


def tokens(html: str) -> Iterator[Tag | str]:
    """Yield tags and the text between them; comments, declarations, instructions, scripts and styles are left out.

    A `<` that begins no tag is text. Text is as in the source: references are not resolved.
    """
    position = begin = 0
    missing: set[str] = set()  # ends that do not come any more, so that they are not looked for again
    while (position := html.find("<", position)) >= 0:
        end = _markup_end(html, position, missing)
        tag = None if end else TAG.match(html, position)
        if tag is not None and not tag[4]:
            position = tag.end()
        elif tag is not None or end:
            if begin < position:
                yield html[begin:position]
            if tag is not None:
                token = Tag(tag[2].lower(), bool(tag[1]), tag[3], tag.end())
                yield token
                end = token.end
                if token.name in RAW and not token.closes:
                    end = raw_end(html, token.name, token.end, missing)
                    if token.name not in UNSEEN:
                        yield html[token.end : end]
                    elif end == len(html) and token.source.endswith("/"):
                        end = token.end  # as careless authors end a script
            position = begin = end
        else:
            position += 1
    if begin < len(html):
        yield html[begin:]


def _markup_end(html: str, position: int, missing: set[str]) -> int:
    """Return where a comment, declaration or instruction ends that begins at `position`; 0 if there is none."""
    if html.startswith("<!--", position):
        return _find_end(html, "-->", position + 4, missing)
    if html.startswith(("<!", "<?"), position):
        return _find_end(html, ">", position + 2, missing)
    return 0


def raw_end(html: str, name: str, position: int, missing: set[str]) -> int:
    """Return where the end tag of a raw element begins; without one the rest belongs to the element.

    Args:
        missing: ends that do not come any more; a name is added when its end tag is not found.
    """
    if name not in missing:
        end = re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE).search(html, position)
        if end is not None:
            return end.start()
        missing.add(name)
    return len(html)


def _find_end(html: str, end: str, position: int, missing: set[str]) -> int:
    if end in missing:
        return 0
    found = html.find(end, position)
    if found < 0:
        missing.add(end)
        return 0
    return found + len(end)
