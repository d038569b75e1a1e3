"""Escape code in HTML as blog software stores it: plug-ins show code whose `<` nobody has escaped."""

import re
from html import escape, unescape

from services.chassis.text.sanitiser import ALLOWED, INLINES
from services.chassis.text.tokens import RAW, TAG, raw_end

MARK = re.compile(r"<(?=[a-zA-Z/!?])|\[(?=[a-zA-Z])")
LANGUAGE = re.compile(r"\slang\s*+=", re.IGNORECASE)
ESCAPED = re.compile(r"""\sescaped\s*+=\s*+["']?(?:true|1)""", re.IGNORECASE)
REFERENCE = re.compile(r"&(?:lt|gt|amp|quot|apos|nbsp|#[0-9]{1,7}|#x[0-9a-fA-F]{1,6});")
HIGHLIGHTED = re.compile(r"\stype\s*+=\s*+[\"']?syntaxhighlighter", re.IGNORECASE)
CDATA = re.compile(r"\A\s*+<!\[CDATA\[|\]\]>\s*+\Z")
CODE = frozenset(("code", "kbd", "pre", "samp", "tt"))
# Tags that stay tags inside code, because editors colour and number lines with them; all others are code. Editors give
# attributes values and end what stands in a line, so `a<b && c>d` and `List<S>` are code too.
MARKUP = (ALLOWED - {"input"}) | {"font"}
ENDED = INLINES - {"br", "img"}
VALUED = re.compile(
    r"""(?:\s++(?:[a-z][\w:.-]*+\s*+=\s*+(?:"[^"]*+"|'[^']*+'|[^\s"'=]++)|nowrap(?=\s|\Z)))*+\s*+/?\s*+""",
    re.IGNORECASE,
)


class CodeEscaper:
    """One pass over stored HTML, in linear time.

    Args:
        brackets: begins code in square brackets, such as `[code lang=php]`; its first group is the name that ends it.
        inline: the names in square brackets whose code stands in a line.
    """

    def __init__(
        self, source: str, brackets: re.Pattern[str] | None = None, inline: frozenset[str] = frozenset()
    ) -> None:
        self._source = source
        self._brackets = brackets
        self._inline = inline
        self._ends: dict[str, re.Match[str] | None] = {}  # where each end was found last; None if there is no more
        self._missing: set[str] = set()  # the same of raw elements
        self._out: list[str] = []
        self._code_ends: dict[str, int] = {}  # where the code ends that the present position is in, by its element
        self._code_end = 0  # the furthest of them

    def escaped(self) -> str:
        """Return the HTML with its code escaped; escaping it again changes nothing."""
        source, position = self._source, 0
        while (mark := MARK.search(source, position)) is not None:
            self._out.append(source[position : mark.start()])
            position = self._bracket(mark.start()) if mark[0] == "[" else self._tag(mark.start())
        self._out.append(source[position:])
        return "".join(self._out)

    def _bracket(self, position: int) -> int:
        is_text = self._source.startswith("[", position - 1) and position > 0  # `[[code]…[/code]]`
        found = self._brackets.match(self._source, position) if self._brackets and not is_text else None
        end = self._find(rf"\[/{re.escape(found[1])}\]", found.end()) if found else None
        if found is None or end is None:
            self._out.append("[")
            return position + 1
        code = self._source[found.end() : end.start()]
        if position < self._code_end:
            if end.start() > self._next_code_end(position):
                self._out.append("[")  # named in code that ends first
                return position + 1
            self._out.append(_as_text(code))
        else:
            self._out.append(line(code) if found[1].lower() in self._inline else block(code))
        return end.end()

    def _tag(self, position: int) -> int:
        """Write what begins with `<`, and return where the rest begins."""
        source, in_code = self._source, position < self._code_end
        if source.startswith("<!--", position) and not in_code and (end := self._find("-->", position + 4)):
            return self._kept(position, end.end())
        found = TAG.match(source, position)
        if found is None:
            return self._shown(position, position + 1) if in_code else self._kept(position, position + 1)
        name, closes, attributes = found[2].lower(), bool(found[1]), found[3]
        if in_code and not (found[4] and self._is_markup(found)):
            return self._shown(position, found.end())
        if not found[4] or closes:
            return self._kept(position, found.end())
        if name == "script" and HIGHLIGHTED.search(attributes) and (end := self._find(r"</script\s*>", found.end())):
            self._out.append(block(CDATA.sub("", source[found.end() : end.start()])))
            return end.end()
        if name in RAW:
            return self._kept(position, raw_end(source, name, found.end(), self._missing))
        if name in CODE and (end := self._find(rf"</{name}\s*>", found.end())):
            if LANGUAGE.search(attributes) and not ESCAPED.search(attributes):
                code = source[found.end() : end.start()]
                self._out.append(block(code) if name == "pre" or "\n" in code.strip() else line(code))
                return end.end()
            self._code_ends[name] = end.start()
            self._code_end = max(self._code_end, end.start())
        return self._kept(position, found.end())

    def _is_markup(self, tag: re.Match[str]) -> bool:
        """Return whether a tag inside code is not code itself."""
        name = tag[2].lower()
        if name not in MARKUP or not VALUED.fullmatch(tag[3]):
            return False
        if tag[1] or name not in ENDED:
            return True
        end = self._find(rf"</{name}\s*>", tag.end())
        return end is not None and end.start() <= self._next_code_end(tag.start())

    def _next_code_end(self, position: int) -> int:
        """Return where the innermost code ends that a position is in."""
        return min(one for one in self._code_ends.values() if one > position)

    def _kept(self, begin: int, end: int) -> int:
        self._out.append(self._source[begin:end])
        return end

    def _shown(self, begin: int, end: int) -> int:
        self._out.append(self._source[begin:end].replace("<", "&lt;"))
        return end

    def _find(self, end: str, position: int) -> re.Match[str] | None:
        """Return the next match of a pattern; one that was found further on is not looked for again."""
        if end not in self._ends or ((found := self._ends[end]) is not None and found.start() < position):
            self._ends[end] = re.compile(end, re.IGNORECASE).search(self._source, position)
        return self._ends[end]


def with_code_escaped(source: str) -> str:
    """Return stored HTML whose code in `<pre>` and `<code>` is escaped.

    With a `lang` the code is taken as it stands. Without one the code may be marked up: tags that no editor puts into
    code, such as `<form>` or `<stdio.h>`, are shown.
    """
    return CodeEscaper(source).escaped() if "<" in source else source


def block(code: str) -> str:
    """Return code of several lines as HTML."""
    return f"<pre><code>{_as_text(code.strip(chr(10)).rstrip())}</code></pre>"


def line(code: str) -> str:
    """Return code in a line of text as HTML."""
    return f"<code>{_as_text(code)}</code>"


def _as_text(code: str) -> str:
    """Return code as text in HTML; what an editor has escaped already is not escaped twice."""
    if "<" not in code and ">" not in code:
        code = REFERENCE.sub(lambda reference: unescape(reference[0]), code)
    return escape(code, quote=False).replace("[", "&#91;")
