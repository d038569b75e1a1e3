"""Take the shortcodes of WordPress and its plug-ins out of HTML: `[gallery ids="1,2"]`, `[caption]…[/caption]`.

Not everything in brackets is one: `[sic]` and `[1]` are prose. A name that we do not know is a shortcode if it has an
attribute, an end or a `/`, here or elsewhere in the same file, or stands as `[a-name]` in a line of its own. It is left
out and counted; what stands between it and its end stays.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from services.chassis.text.tokens import TAG

MARK = re.compile(r"[<\[]")
SHORTCODE = re.compile(
    r"""\[(\[?)(/?)([A-Za-z_][\w-]*+)((?:(?:[\s/=:|]|&nbsp;)(?:=\s*+(?:"[^"]*+"|'[^']*+')|[^\[\]]){0,5000}+)?)\](\]?)"""
)
ATTRIBUTE = re.compile(r"""([A-Za-z_][\w-]*+)=(?:"([^"]*+)"|'([^']*+)'|([^\s"'=]++))|"([^"]*+)"|'([^']*+)'|(\S++)""")
NAMED = re.compile(r"""[\s"'][A-Za-z_][\w-]*+=(?:["'“”„«]|&quot;|&\#8|[^\s=&])""")
SELF_CLOSED = re.compile(r"""(?:\A|[\s"'])/\Z""")
SPACE = re.compile("&nbsp;|&#160;|\u200b")  # as editors put it where a space was typed
TYPESET = re.compile(r"[“”„‟″]|&(?:quot|[lr]dquo|#34|#822[0123]|#8243);")  # quotation marks, as editors replace them
COMPOUND = re.compile(r"[a-z0-9]+(?:[-_][a-z0-9]+)+")
FAMILIAR = frozenset(("archives", "latexpage", "nggallery", "sitemap", "slideshow", "toc"))
CODE = frozenset(("pre", "code"))


@dataclass(frozen=True)
class Shortcode:
    """One tag in brackets.

    Attributes:
        source: the whole of it as it stands.
        given: what stands behind the name.
        opened: the bracket before it and closed the one behind it that make `[[it]]` text.
        alone: whether nothing else stands in its line.
    """

    name: str
    closes: bool
    source: str
    given: str
    opened: bool
    closed: bool
    alone: bool

    @property
    def is_certain(self) -> bool:
        """Return whether it is a shortcode: prose has no attributes, and is no `[a-name]` in a line of its own."""
        if NAMED.search(self.given) or SELF_CLOSED.search(self.given):
            return True
        return self.alone and not self.given and (bool(COMPOUND.fullmatch(self.name)) or self.name in FAMILIAR)

    def arguments(self) -> tuple[dict[str, str], list[str]]:
        """Return the attributes by name in lower case, and the values without a name, as they stand in the HTML."""
        text = self.given.strip().removeprefix("=").removeprefix(":")
        text = text if '"' in text else TYPESET.sub('"', text)
        named: dict[str, str] = {}
        bare: list[str] = []
        for name, double, single, value, *others in ATTRIBUTE.findall(text):
            if name:
                named.setdefault(name.lower(), double or single or value)
            else:
                bare.append("".join(others))
        return named, [value for value in bare if value != "/"]


# Returns the HTML of a shortcode with its content, which is None if it has no end; None if it is to be left out.
Replace = Callable[[Shortcode, str | None], str | None]


def names_in(html: str) -> set[str]:
    """Return the names that are shortcodes beyond doubt: with attributes, or with an end."""
    if "[" not in html:
        return set()
    found = [part for part in _parts(html) if isinstance(part, Shortcode)]
    ended = {part.name for part in found if part.closes}
    return {part.name for part in found if not part.closes and (part.is_certain or part.name in ended)}


def without_shortcodes(html: str, replace: Replace, known: Collection[str], left_out: Counter[str]) -> str:
    """Return HTML in which shortcodes are replaced, or left out and counted; what stood between them stays.

    Args:
        known: names that are shortcodes wherever they stand, such as `names_in` finds.
        left_out: counts the names without a replacement.
    """
    if "[" not in html:
        return html
    parts = list(_parts(html))
    ends = _ends(parts)
    open_parts: list[tuple[Shortcode, list[str]]] = []
    out: list[str] = []
    for position, part in enumerate(parts):
        if isinstance(part, str):
            out.append(part)
        elif position in ends and not part.closes:
            open_parts.append((part, out))
            out = []
        elif position in ends:
            begun, content = open_parts[-1][0], "".join(out)
            out = open_parts.pop()[1]
            if begun.opened and part.closed:
                out.append(_text(begun.source[1:]) + content + _text(part.source[:-1]))
            else:
                out.append(begun.opened * "&#91;" + _shown(begun, content, replace, left_out) + part.closed * "]")
        elif not (part.is_certain or part.name in known or replace(part, None) is not None):
            out.append(part.source)
        elif part.opened and part.closed:
            out.append(_text(part.source[1:-1]))
        elif not part.closes:
            out.append(part.opened * "&#91;" + _shown(part, None, replace, left_out) + part.closed * "]")
    return "".join(out)


def _parts(html: str) -> Iterator[str | Shortcode]:
    """Yield shortcodes and what stands between them; in tags and in code are none but `[[those]]` that are text."""
    position = begin = 0
    lower = html.lower()
    last_ends = {name: lower.rfind(f"</{name}") for name in CODE} | {"!--": html.rfind("-->")}
    code: str | None = None
    while (mark := MARK.search(html, position)) is not None:
        position = mark.end()
        if mark[0] == "<":
            if html.startswith("!--", position) and position < last_ends["!--"]:
                position = html.find("-->", position)
            elif tag := TAG.match(html, mark.start()):
                position, name = tag.end(), tag[2].lower()
                if tag[1]:
                    code = None if name == code else code
                elif position <= last_ends.get(name, -1):
                    code = code or name
            continue
        found = SHORTCODE.match(html, mark.start())
        if found is None or (code and not (found[1] and found[5])):
            continue
        yield html[begin : found.start()]
        yield Shortcode(
            found[3],
            bool(found[2]),
            found[0],
            SPACE.sub(" ", found[4]),
            bool(found[1]),
            bool(found[5]),
            _is_alone(html, found),
        )
        position = begin = found.end()
    yield html[begin:]


def _is_alone(html: str, found: re.Match[str]) -> bool:
    before, after = found.start(), found.end()
    while before and html[before - 1] in " \t":
        before -= 1
    while after < len(html) and html[after] in " \t":
        after += 1
    return (before == 0 or html[before - 1] in "\n>") and (after == len(html) or html[after] in "\n<")


def _ends(parts: list[str | Shortcode]) -> set[int]:
    """Return the places of the shortcodes that have an end, and of their ends. None encloses half of another."""
    waiting: list[int] = []
    names: Counter[str] = Counter()
    paired: set[int] = set()
    for position, part in enumerate(parts):
        if isinstance(part, str) or (part.opened and part.closed) or SELF_CLOSED.search(part.given):
            continue
        if not part.closes:
            waiting.append(position)
            names[part.name] += 1
        elif names[part.name]:
            while True:
                begun = waiting.pop()
                opening = parts[begun]
                assert isinstance(opening, Shortcode)
                names[opening.name] -= 1
                if opening.name == part.name:
                    paired |= {begun, position}
                    break
    return paired


def _shown(part: Shortcode, content: str | None, replace: Replace, left_out: Counter[str]) -> str:
    shown = replace(part, content)
    if shown is None:
        left_out[part.name] += 1
        return content or ""
    return shown


def _text(source: str) -> str:
    return source.replace("[", "&#91;")
