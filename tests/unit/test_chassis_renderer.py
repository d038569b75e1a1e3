"""Rendering: safe HTML of any text, within limits of time and memory."""

import asyncio
import os
import re
import signal
import sys
import time
from html.parser import HTMLParser
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.chassis.errors import Problem
from services.chassis.text import renderer_pool
from services.chassis.text.html_to_text import BLOCKS, excerpt, plain
from services.chassis.text.renderer import INLINES, Refused, serve, to_html
from services.chassis.text.renderer_pool import Renderer, render
from services.chassis.text.renderer_wire import HEADER

ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<a href='javascript:alert(1)'>x</a>",
    "<a href='java\tscript:alert(1)'>x</a>",
    "<a href=' &#106;avascript:alert(1)'>x</a>",
    "<a href='vbscript:x'>x</a><a href='data:text/html,<script>alert(1)</script>'>x</a>",
    "<p style='position:fixed'>x</p>",
    "<form action=/me><input name=x></form>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<!--><img src=x onerror=alert(1)>-->",
    "<style>@import url(x)</style><link rel=stylesheet href=x><base href=//evil><meta http-equiv=refresh>",
    "<template><img src=x onerror=alert(1)></template>",
    "<div id=location class=x name=y data-x=1>x</div>",
    "[x](javascript:alert(1)) [x](data:text/html;base64,PHN) ![x](javascript:alert(1))",
    '[x](https://a.b/"onmouseover="alert(1))',
    "[x]: javascript:alert(1)\n\n[x]",
    "<javascript:alert(1)> https://a.b/'onclick='alert(1)",
]
ALLOWED = BLOCKS | INLINES | {"caption", "col", "colgroup"}
ATTRIBUTES = {
    *("href", "title", "src", "alt", "width", "height", "start", "colspan", "rowspan", "rel"),
    *("loading", "referrerpolicy"),
}


class Inspector(HTMLParser):
    """Fails at every tag, attribute and scheme that is not allowed."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ALLOWED
        assert {name for name, _ in attrs} <= ATTRIBUTES
        values = dict(attrs)
        for name in ("href", "src"):
            scheme = re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*:", values.get(name) or "")
            assert scheme is None or scheme[0].lower() in ("http:", "https:", "mailto:")
        if tag == "a":
            assert values["rel"] == "nofollow ugc noopener"

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")


def inspect(html: str) -> None:
    inspector = Inspector()
    inspector.feed(html)
    inspector.close()


@pytest.mark.parametrize("format", ["markdown", "html"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_are_removed(attack: str, format: str) -> None:
    inspect(to_html(attack, format))
    inspect(to_html(f"> - *{attack}*\n\n{attack}\n", format))


PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            [*ATTACKS, "\n\n", "<", ">", "</p>", "<!--", "-->", "<pre>", "</pre>", "`", "*", "[", "](", ")"]
        ),
        st.text(max_size=8),
    ),
    max_size=12,
)


@settings(max_examples=200, deadline=None)
@given(pieces=PIECES, format=st.sampled_from(["markdown", "html"]))
def test_mixtures_of_attacks_are_removed(pieces: list[str], format: str) -> None:
    html = to_html("".join(pieces).replace("\0", ""), format)
    inspect(html)
    plain(html)
    assert len(excerpt(html, 20)) <= 20


def test_raw_html_in_markdown_is_text() -> None:
    assert to_html("a <b>bold</b> <script>", "markdown") == "<p>a &lt;b&gt;bold&lt;/b&gt; &lt;script&gt;</p>\n"


def test_common_markdown_is_rendered() -> None:
    html = to_html(
        "# Hi\n\n*a* **b** ~~c~~ `d`\n\n1. x\n2. y\n\n> q\n\n| h |\n|---|\n| c |\n\n```py\n<x>\n```", "markdown"
    )
    for part in ("<h1>Hi</h1>", "<em>a</em>", "<strong>b</strong>", "<s>c</s>", "<code>d</code>", "<li>x</li>"):
        assert part in html
    for part in ("<blockquote>\n<p>q</p>", "<th>h</th>", "<td>c</td>", "<pre><code>&lt;x&gt;\n</code></pre>"):
        assert part in html


@pytest.mark.parametrize(
    ("text", "href"),
    [
        ("https://example.org/a?b=c", "https://example.org/a?b=c"),
        ("www.example.org", "http://www.example.org"),
        ("ann@example.org", "mailto:ann@example.org"),
        ("example.com", "http://example.com"),
        ("[x](https://example.org)", "https://example.org"),
    ],
)
def test_links_are_made(text: str, href: str) -> None:
    assert f'<a href="{href}" rel="nofollow ugc noopener">' in to_html(text, "markdown")


@pytest.mark.parametrize("text", ["main.py", "notes.md", "e.g.this", "`https://example.org`"])
def test_no_links_are_made(text: str) -> None:
    assert "<a" not in to_html(text, "markdown")


def test_image_is_lazy_and_sends_no_referrer() -> None:
    html = to_html("![alt](https://a.b/c.png)", "markdown")
    assert '<img src="https://a.b/c.png" alt="alt" ' in html
    assert ' loading="lazy"' in html
    assert ' referrerpolicy="no-referrer"' in html


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("", ""),
        ("One", "<p>One</p>\n"),
        ("One\nline\n\n\nTwo", "<p>One<br>\nline</p>\n<p>Two</p>\n"),
        ("One\r\n\r\nTwo", "<p>One</p>\n<p>Two</p>\n"),
        ("<em>a</em>\n\nb", "<p><em>a</em></p>\n<p>b</p>\n"),
        ("a\n<ul>\n<li>x</li>\n<li>y</li>\n</ul>\nb", "<p>a</p>\n<ul><li>x</li><li>y</li></ul><p>b</p>\n"),
        ("<blockquote>a\n\nb</blockquote>", "<blockquote><p>a</p>\n<p>b</p>\n</blockquote>"),
        ("<pre>a\n\n\nb</pre>\nc", "<pre>a\n\n\nb</pre>\n<p>c</p>\n"),
        ("a\n\n<PRE class=x>b\n\nc", "<p>a</p>\n\n<pre>b\n\nc</pre>"),
        ("<p>a</p>\n\n<p>b</p>", "<p>a</p><p>b</p>"),
        ("<!-- wp:paragraph -->\n<p>a\nb</p>\n<!-- /wp:paragraph -->", "\n<p>a\nb</p>\n"),
        ("a<!--more-->\n\nb", "<p>a</p>\n<p>b</p>\n"),
        ("<prefix>a", "<p>a</p>\n"),
    ],
)
def test_stored_html_gets_paragraphs(stored: str, shown: str) -> None:
    assert to_html(stored, "html") == shown


@pytest.mark.parametrize("text", [">" * 200 + "x", "".join(" " * (2 * depth) + "- a\n" for depth in range(60))])
def test_deep_nesting_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="nested"):
        to_html(text, "markdown")


@pytest.mark.parametrize("depth", [1, 10, 25])
def test_allowed_nesting_loses_no_text(depth: int) -> None:
    assert "word" in to_html(">" * depth + " word", "markdown")
    assert "word" in to_html("".join(" " * (2 * level) + "- a\n" for level in range(depth)) + "\nword", "markdown")


@pytest.mark.parametrize("text", ["<!--" * 20_000, "<pre>" * 20_000, "<" * 60_000, "\n \n" * 20_000, "<p " * 20_000])
def test_stored_html_takes_linear_time(text: str) -> None:
    started = time.process_time()
    to_html(text, "html")
    assert time.process_time() - started < 2.0, "a quadratic step would take minutes"


async def test_texts_are_rendered_concurrently() -> None:
    texts = [f"*{number}*" for number in range(50)]
    assert await asyncio.gather(*(render(text, "markdown") for text in texts)) == [
        f"<p><em>{number}</em></p>\n" for number in range(50)
    ]
    assert await render("a<!--x-->", "html") == "<p>a</p>\n"


async def test_text_beyond_the_processor_time_is_refused() -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    with pytest.raises(Problem) as refusal:
        await render("[" * 200_000, "markdown")
    ticking.cancel()
    assert refusal.value.kind == "invalid"
    assert [(error.field, error.message) for error in refusal.value.errors] == [("body", renderer_pool.TOO_COSTLY)]
    assert ticks > 10, "the event loop was not blocked"
    assert await render("*ok*", "markdown") == "<p><em>ok</em></p>\n"


async def test_killed_child_is_replaced() -> None:
    renderer = Renderer()
    try:
        assert await renderer.render("a", "markdown")
        for child in renderer._children:
            os.kill(child.process.pid, signal.SIGKILL)
        assert await renderer.render("b", "markdown") == "<p>b</p>\n"
    finally:
        renderer.close()


async def test_unresponsive_child_is_replaced_and_the_text_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renderer_pool, "CHILDREN", 1)
    renderer = Renderer()
    try:
        assert await renderer.render("a", "markdown")
        monkeypatch.setattr(renderer_pool, "WALL_SECONDS", 0.2)
        (child,) = renderer._children
        os.kill(child.process.pid, signal.SIGSTOP)
        with pytest.raises(Problem) as refusal:
            await renderer.render("b", "markdown")
        assert refusal.value.kind == "unavailable"
        monkeypatch.undo()
        assert await renderer.render("c", "markdown") == "<p>c</p>\n"
    finally:
        renderer.close()


async def test_child_that_does_not_start_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    renderer = Renderer()
    try:
        with pytest.raises(Problem) as refusal:
            await renderer.render("a", "markdown")
    finally:
        renderer.close()
    assert refusal.value.kind == "unavailable"


async def test_deep_markdown_is_an_invalid_body() -> None:
    with pytest.raises(Problem) as refusal:
        await render(">" * 200 + "x", "markdown")
    assert [error.field for error in refusal.value.errors] == ["body"]


async def test_waiting_texts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renderer_pool, "MOST_WAITING", 3)
    renderer = Renderer()
    try:
        outcomes = await asyncio.gather(*(renderer.render("x", "markdown") for _ in range(5)), return_exceptions=True)
    finally:
        renderer.close()
    refusals = [outcome for outcome in outcomes if isinstance(outcome, Problem)]
    assert [(problem.kind, problem.headers) for problem in refusals] == [("unavailable", {"Retry-After": "1"})] * 2
    assert outcomes.count("<p>x</p>\n") == 3


def test_plain_text_of_html() -> None:
    html = to_html(
        "# Hi\n\na *b*\nc  \nd\n\n- x\n- y\n\n> q\n>\n> r\n\n```\n1\n\n  2\n```\n\n[t](https://a.b) & <", "markdown"
    )
    assert plain(html) == "Hi\n\na b c\nd\n\n- x\n- y\n\n> q\n\n> r\n\n1\n\n  2\n\nt & <"
    assert plain("<table><tr><td>a</td><td>b</td></tr></table>") == "a\n\nb"
    assert plain('<p><img alt="a cat" src="https://a.b/c"></p>') == "a cat"
    assert plain("") == ""


@pytest.mark.parametrize(
    ("html", "length", "text"),
    [
        ("<p>One two</p><p>three</p>", 200, "One two three"),
        ("<p>One two three</p>", 13, "One two three"),
        ("<p>One two three</p>", 12, "One two…"),
        ("<p>One two three</p>", 8, "One two…"),
        ("<p>One two three</p>", 7, "One…"),
        ("<p>Unbreakable</p>", 5, "Unbr…"),
        ("<p>a &amp; b &lt;i&gt;</p>", 200, "a & b <i>"),
        ("", 200, ""),
    ],
)
def test_excerpt_is_cut_between_words(html: str, length: int, text: str) -> None:
    assert excerpt(html, length) == text


def test_child_serves_until_its_pipe_is_closed() -> None:
    requests, answers = BytesIO(), BytesIO()
    for kind, text in ((b"m", "*a*"), (b"h", "b"), (b"m", ">" * 200 + "x"), (b"m", "ü")):
        requests.write(HEADER.pack(kind, len(text.encode())) + text.encode())
    requests.write(b"m")
    requests.seek(0)
    serve(requests, answers)
    answers.seek(0)
    seen = []
    while header := answers.read(HEADER.size):
        status, length = HEADER.unpack(header)
        seen.append((status, answers.read(length).decode()))
    assert seen == [
        (b"+", "<p><em>a</em></p>\n"),
        (b"+", "<p>b</p>\n"),
        (b"-", "is nested too deeply"),
        (b"+", "<p>ü</p>\n"),
    ]
