"""HTML of a comment in a mail: nothing can be followed or fetched, and nothing that the page shows is missing."""

import random
import re
import time
from html.parser import HTMLParser

import pytest

from services.chassis.text.inert import inert
from services.chassis.text.renderer import to_html


def shown(source: str, hosts: tuple[str, ...] = ()) -> str:
    """Return the HTML in a mail without styles and line ends."""
    html = inert(to_html(source, "markdown", "comment", anchor="1", picture_hosts=hosts))
    return re.sub(r' style="[^"]*"| dir="auto"|\n', "", html)


@pytest.mark.parametrize(
    ("source", "html"),
    [
        ("1986. What a season.", '<ol start="1986"><li>What a season.</li></ol>'),
        ("- [x] a\n- [ ] b", "<ul><li>☑ a</li><li>☐ b</li></ul>"),
        ("![a cat](https://a.example/1)", "<p>an image: a cat</p>"),
        ("![](https://a.example/b%20c.png)", "<p>an image: b c.png</p>"),
        ('![a > "b" & c](https://a.example/1 "x > y")', '<p>an image: a &gt; "b" &amp; c</p>'),
        ("[here](https://a.example) www.b.example", "<p>here www.b.example</p>"),
        ("a[^n]\n\n[^n]: b", "<p>a<sup>1</sup></p><ol><li><p>b</p></li></ol>"),
        ("a[^n] a[^n]\n\n[^n]: b", "<p>a<sup>1</sup> a<sup>1</sup></p><ol><li><p>b</p></li></ol>"),
        ("~~a~~ *b* **c** `d`", "<p><del>a</del> <em>b</em> <strong>c</strong> <code>d</code></p>"),
    ],
)
@pytest.mark.parametrize("hosts", [(), ("a.example",)])
def test_what_a_mail_cannot_show_is_said(source: str, html: str, hosts: tuple[str, ...]) -> None:
    assert shown(source, hosts) == html


def test_a_table_has_lines_and_alignment() -> None:
    html = inert(to_html("| a | b | c |\n|:-:|--:|---|\n| 1 | 2 | 3 |", "markdown", "comment"))
    assert '<table border="1"' in html.replace("\n", " ") or 'border="1"' in html
    assert re.findall(r"<td([^>]*)>", html) == [
        ' align="center" dir="auto"',
        ' align="right" dir="auto"',
        ' dir="auto"',
    ]
    assert "overflow-x: auto" in html


def test_each_paragraph_has_its_own_direction() -> None:
    html = inert(to_html("# a\n\nשלום\n\nhello\n\n- a\n- ב\n\n```\nx\n```", "markdown", "comment"))
    for start in (
        '<h3 dir="auto">a',
        '<p dir="auto">שלום',
        '<p dir="auto">hello',
        '<li dir="auto">ב',
    ):
        assert start in html
    assert re.search(r'<pre [^>]*dir="ltr"', html)


@pytest.mark.parametrize(
    ("source", "directions"),
    [
        ("- א\n  - b\n\n1. c", ["rtl", "", ""]),
        ("> 27 א", ["rtl"]),
        ("> - א", ["rtl", "rtl"]),
        ("- a\n\n> ב\n>\n> c", ["", "rtl"]),
        ("| א | b |\n|---|---|", ["rtl"]),
        ("- *א*", ["rtl"]),
        ("- 1\n- 2\n\nא", [""]),
        ("- [א](https://a.example)", ["rtl"]),
        ("- سلام", ["rtl"]),
        ("- !? … 👋", [""]),
    ],
)
def test_a_list_a_quotation_or_a_table_goes_the_way_it_begins(source: str, directions: list[str]) -> None:
    html = inert(to_html(source, "markdown", "comment"))
    tags = re.findall(r"<(?:ul|ol|blockquote|table)\b([^>]*)>", html)
    assert ["rtl" if 'dir="rtl"' in tag else "" for tag in tags] == directions


def test_a_mail_is_made_in_linear_time() -> None:
    def seconds(times: int) -> float:
        html = "<pre>" + " " * 9_000 * times + "<input checked></pre>" + "<p> <a " * 100 * times + "א<ul>" * 20
        found = []
        for _ in range(3):
            begun = time.process_time()
            inert(html)
            found.append(time.process_time() - begun)
        return min(found)

    assert seconds(8) < 0.05 + 8 * 4 * seconds(1)


class Reader(HTMLParser):
    """Collects what a mail client might follow, fetch, submit or run."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: list[object] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = {name for name, _ in attrs}
        style = dict(attrs).get("style") or ""
        wrong = names - {"align", "border", "bordercolor", "cellpadding", "colspan", "dir", "rowspan", "start", "style"}
        if wrong or tag in ("a", "img", "input", "form", "script", "style", "link") or "url" in style:
            self.alive.append((tag, attrs))


FRAGMENTS = [
    *(
        '<img alt="',
        "<input checked>",
        'class="picture"',
        'class="align-left"',
        "class=picture>",
        "<td ",
        "<a ",
        "</a>",
    ),
    *(
        ' dir="rtl"',
        "א",
        ">",
        "<",
        '"',
        "'",
        "&lt;img src=x&gt;",
        "&quot;",
        "<script>",
        "onerror=",
        "style=url(x)",
        "<ul>",
    ),
    *("</ul>", "<table>", "<p>", "<blockquote>", "javascript:x", "an image: ", "<!--", "-->", "\x00", "x"),
]


def test_no_mixture_is_alive_in_a_mail() -> None:
    chance = random.Random(20261127)
    for _ in range(3_000):
        source = "".join(chance.choices(FRAGMENTS, k=chance.randint(1, 12)))
        for html in (source, to_html(source, "html", "comment"), to_html(source, "markdown", "comment")):
            reader = Reader()
            reader.feed(inert(html))
            assert reader.alive == [], source
