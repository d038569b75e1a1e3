"""What a text costs grows with its length, and no text that people may send takes more than the product's bound."""

import contextlib
import time
from collections.abc import Callable

import pytest

from services.chassis.text.refused import Refused
from services.chassis.text.renderer import Format, Kind, to_html

BOUND = 0.25  # seconds of processor time for any text: a bound of the product (DESIGN, rule 21), not of this machine
FLOOR = 0.03  # seconds that a measurement may be off
EXPONENT = 1.2
POST, COMMENT = 60_000, 10_000


def repeated(piece: str, *, before: str = "", after: str = "") -> Callable[[int], str]:
    return lambda length: before + piece * ((length - len(before) - len(after)) // len(piece)) + after


def numbered(piece: str, most: int) -> Callable[[int], str]:
    """Return a family whose pieces contain their number."""
    return lambda length: "".join(piece.replace("#", str(number)) for number in range(length // most))


def square(piece: Callable[[int], str]) -> Callable[[int], str]:
    """Return a family whose pieces grow, so that there are about as many as the root of the length."""
    return lambda length: "".join(piece(number) for number in range(1, int((2 * length) ** 0.5) - 2))


MARKDOWN: dict[str, Callable[[int], str]] = {
    **{
        piece: repeated(piece)
        for piece in (
            *("![", "[", "![a", "[[]]", "*_", "a**b", "**a ", "*a **b ", "_a__b", "~~a", "~", "~a~~b", "a.com/("),
            *("www.a.b(", "http://a.b/[[[", "a@", "a.b@c.d ", "http:", "http://", ":", "w", "&", "&#1", "&amp;", "\\"),
            *("<a ", "<", "<!--", "<?", "<![CDATA[", "<!A ", "</a ", "<a b='", "a <!-- ", "<a:b", "<a@b", "<div>\n\n"),
            *("> ", ">", "> - ", "- ", "-\n", "1. ", ">\t", "> a\nb\n", "> <div>\n\n", "# a\n", "---\n", "a\n---\n\n"),
            *("[a](", "[a](<b", "[]()", "[x](y 'z", "[a](b)", "![](a)", "[a]: b\n", "http://a.b ", "http://a.b。"),
            *("- [ ] a\n", "```\n", "a  \n", "\n", "a\\\n", "`a``b", "。", "😀", "\u0301", "\u200d", "\ufeff", "a b"),
            *("|a|\n|-|\n", "[^1]: x\n", "~~a *", "- a\n\n  > b\nc\n", "[a]:\n", "\t", "（", "$", "http://a.b/<"),
        )
    },
    "a wide table": lambda length: "|" + "a|" * 99 + "\n|" + "-|" * 99 + "\n" + "|" * (length - 500),
    "a wider table": lambda length: "|" + "a|" * (length // 8) + "\n|" + "-|" * (length // 8) + "\n" + "|\n" * 99,
    "rows of a table": repeated("|a|\n", before="|a|\n|-|\n"),
    "short rows": repeated("x\n", before="|" + "a|" * 50 + "\n|" + "-|" * 50 + "\n"),
    "escaped bars": repeated("\\|", before="|a|\n|-|\n|"),
    "a reference used": lambda length: "[a]: /" + "u" * (length // 2 - 10) + "\n\n" + "[a] " * (length // 8),
    "a picture used": lambda length: "[a]: /" + "u" * (length // 2 - 10) + "\n\n" + "![a] " * (length // 10),
    "references": numbered("[#]: x\n", 11),
    "a footnote used": repeated("[^1]", after="\n\n[^1]: x"),
    "footnotes": lambda n: numbered("[^#] ", 20)(n) + "\n\n" + numbered("[^#]: x\n", 20)(n),
    "footnotes in footnotes": lambda n: "".join(f"[^{i}]: [^{i + 1}]\n" for i in range(n // 18)) + "\n[^0]",
    "lazy lines": repeated("b\n", before=">" * 40 + "a\n"),
    "deep lists": square(lambda number: " " * number + "- a\n"),
    "growing back-ticks": square(lambda number: "`" * number + " "),
    "growing fences": square(lambda number: "`" * (number + 2) + "\n"),
    "closing brackets": repeated(")", before="http://a.b/"),
    "opening brackets": repeated("(", before="http://a.b/"),
    "closing brackets and stops": repeated(".)", before="http://a.b/"),
    "full-width brackets": repeated("（）", before="http://a.b/"),
    "closing full-width brackets": repeated("）", before="http://a.b/"),
    "references at an address": repeated("&a;", before="http://a.b/"),
    "a long host": repeated("a.", before="www."),
    "a long mail address": repeated("a.", after="@b.c"),
    "a long mail host": repeated("b.", before="a@"),
    "underscores": repeated("a_", after="@b.c"),
    "stars around": lambda length: "*" * (length // 2) + "a" + "*" * (length // 2),
    "nested emphasis": lambda length: "*a" * (length // 4) + "b*" * (length // 4),
    "nested links": lambda length: "[" * (length // 5) + "a" + "](b)" * (length // 5),
    "nested pictures": lambda length: "![" * (length // 6) + "a" + "](b)" * (length // 6),
    "a setext heading": repeated("a\n", after="---"),
    "a long label": repeated("a", before="[", after="]"),
    "escaped brackets": repeated("\\[", before="[", after="]"),
    "a long title": repeated("x ", before="[a]: b '"),
}  # fmt: skip

HTML: dict[str, Callable[[int], str]] = {
    **{
        piece: repeated(piece)
        for piece in (
            *("<", "<a ", "<div>", "<!--", "<pre>", "<p>", "<b>", "<p>x", "<li>", "<td>", "<table>", "<b><p>", "<br>"),
            *("<p><b><div>x</div>", "</p>", "</b>", "<img>", "<img src=a>", "<a href=b>", "<a href=b>c</a>", '<a "'),
            *("<table><b>x", "<a '", '<a ="', "<a b='", "&", "&a", "&amp;", "&#1", "\n \n", "<p ", "<svg>", "<math>"),
            *("<form>", "<script>", "<title>", "<style>a", "<textarea>", "<plaintext>", "<?", "<!", "<![CDATA[", "</"),
            *("</a ", "<select>", "<h1>", "<font size=1>", "<i>", "<ul>", "<dl><dd>", "<span>x</span>", "<template>"),
            *("<noscript>", "<object>", "</pre>", "<table><tr><td>", "<a><table>", "<a b=c d=e>", "<hr>", "x\n\n"),
            *("<pre>x</pre>", "<pre", "x\n", "<b><i><u>", "<!-- wp:x -->", "<!--x-->", "--> ", "<script", "</script>"),
            *("<STYLE></style", "<em></p>", "<ruby><rt>", "\xa0", "<pre lang=x>", "<pre lang=x><b></pre>", "<pre><x>"),
            *("<code lang=x>y</code>", "<code>", "<pre ", "<pre></pre", "www.a.b ", "http://a。", "http://a）", "ftp://a"),
            *("http://a.b/(", "www.a.b", "http://", "&http://a.b&amp;", "<option>", "<video src=a>", "<iframe src=b>"),
            *("<object data=a>", "<form>x", "<xmp>", "<br>\n", '<a ="<b" ', "<!--<pre>", "</textarea>"),
        )
    },
    "text in a table": repeated("x<b>y</b>", before="<table>"),
    "blocks in a row": repeated("<div>x</div>", before="<table><tr>"),
    "formatting before paragraphs": repeated("<p>x", before="<b a=1><b a=2><i a=3><i a=4><u><s>" * 6),
    "formatting before blocks": repeated("<div>x</div>", before="<p>" + "<b><i><u>" * 12),
    "attributes": numbered("b#=c ", 8),
    "tags inside quotation marks in code": repeated('="<x" ', before="<pre><x ", after="></pre>"),
    "unfinished tags inside quotation marks in code": repeated('="<x" ', before="<pre><x ", after="</pre>"),
    "code in code": repeated("<code><x>", before="<pre>", after="</pre>"),
    "a long bare address": repeated("a", before="http://b.c/"),
    "players of one address": repeated("<embed src=a>", before="<object>"),
    "players": numbered("<embed src=#>", 20),
    "a long address": repeated("a", before="<a href='", after="'>"),
    "deep": repeated("<div>" * 49 + "x" + "</div>" * 49),
}  # fmt: skip


def cost(source: str, format: Format, kind: Kind, *, most: float = FLOOR) -> float:
    """Return the processor time of rendering, the least of several where the first is above `most`.

    What else the machine does makes it longer, and nothing makes it shorter.
    """
    times: list[float] = []
    while not times or (min(times) > most and len(times) < 5):
        started = time.process_time()
        with contextlib.suppress(Refused):
            to_html(source, format, kind)
        times.append(time.process_time() - started)
    return min(times)


def check(family: Callable[[int], str], length: int, format: Format, kind: Kind) -> None:
    source = family(length)
    assert len(source) <= 1.02 * length
    whole = cost(source, format, kind, most=BOUND)
    assert whole <= BOUND
    if whole > FLOOR:
        half = cost(family(length // 2), format, kind)
        assert cost(source, format, kind, most=2**EXPONENT * half + FLOOR) <= 2**EXPONENT * half + FLOOR


@pytest.mark.parametrize("family", MARKDOWN.values(), ids=MARKDOWN.keys())
def test_markdown_takes_linear_time(family: Callable[[int], str]) -> None:
    check(family, POST, "markdown", "post")
    check(family, COMMENT, "markdown", "comment")


@pytest.mark.parametrize("family", HTML.values(), ids=HTML.keys())
def test_stored_html_takes_linear_time(family: Callable[[int], str]) -> None:
    check(family, POST, "html", "post")


@pytest.mark.parametrize("piece", ["<", "<a ", "<div>", "<!--", "<pre>", "&a"])
def test_large_imports_take_linear_time(piece: str) -> None:
    half, whole = (cost(repeated(piece)(length), "html", "post") for length in (400_000, 800_000))
    assert whole <= 2**EXPONENT * half + FLOOR


@pytest.mark.parametrize("family", MARKDOWN.values(), ids=MARKDOWN.keys())
def test_size_of_what_is_shown_is_bounded(family: Callable[[int], str]) -> None:
    source = family(COMMENT)
    try:
        html = to_html(source, "markdown", "comment")
    except Refused:
        return
    assert len(html) <= 100_000 + 8 * len(source)
