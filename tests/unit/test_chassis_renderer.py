"""Rendering: Markdown as people write it, and stored HTML, to safe HTML."""

import asyncio
import re
import threading
from html import escape

import pytest

from services.chassis.errors import Problem
from services.chassis.text import render_queue, renderer
from services.chassis.text.html_to_text import excerpt, plain
from services.chassis.text.refused import Refused
from services.chassis.text.renderer import Format, render, to_html
from services.chassis.text.sanitiser import sanitised
from services.contracts.characters import is_visible, without_unwanted


def comment(source: str, **options: object) -> str:
    """Return the HTML of a comment without what each link and picture has."""
    html = to_html(source, "markdown", "comment", **options)  # type: ignore[arg-type]
    return html.replace(' rel="nofollow ugc noopener"', "").replace("\n", "")


def post(source: str) -> str:
    html = to_html(source, "markdown", "post")
    return html.replace(' rel="nofollow ugc noopener"', "").replace("\n", "")


def test_raw_html_is_text() -> None:
    assert to_html("a <b>bold</b> <script>", "markdown") == "<p>a &lt;b&gt;bold&lt;/b&gt; &lt;script&gt;</p>\n"
    assert comment("<div>\na\n</div>\n\n> <p>\n> b") == (
        "<p>&lt;div&gt;<br>a<br>&lt;/div&gt;</p><blockquote><p>&lt;p&gt;<br>b</p></blockquote>"
    )


def test_common_markdown_is_rendered() -> None:
    html = to_html(
        "# Hi\n\n*a* **b** ~~c~~ `d`\n\n1. x\n2. y\n\n> q\n\n| h |\n|---|\n| c |\n\n```py\n<x>\n```", "markdown"
    )
    for part in ("<h2>Hi</h2>", "<em>a</em>", "<strong>b</strong>", "<del>c</del>", "<code>d</code>", "<li>x</li>"):
        assert part in html
    for part in (
        "<blockquote>\n<p>q</p>",
        "<th>h</th>",
        "<td>c</td>",
        '<pre tabindex="0"><code>&lt;x&gt;\n</code></pre>',
    ):
        assert part in html


def test_line_end_is_a_line_end_in_comments_alone() -> None:
    assert comment("one\ntwo\r\nthree") == "<p>one<br>two<br>three</p>"
    assert "<br>" not in post("one\ntwo")


@pytest.mark.parametrize(
    ("source", "html"),
    [
        ("> you said\nmy answer", "<blockquote><p>you said</p></blockquote><p>my answer</p>"),
        ("> a\n> b\nc", "<blockquote><p>a<br>b</p></blockquote><p>c</p>"),
        ("> a\r\nb", "<blockquote><p>a</p></blockquote><p>b</p>"),
        (
            ">> a\n> b\nc",
            "<blockquote><blockquote><p>a</p></blockquote><p>b</p></blockquote><p>c</p>",
        ),
        (
            "> > a\nc\nd",
            "<blockquote><blockquote><p>a</p></blockquote></blockquote><p>c<br>d</p>",
        ),
        ("- > a\n  b", "<ul><li><blockquote><p>a</p></blockquote><p>b</p></li></ul>"),
        ("> - a\nb", "<blockquote><ul><li>a</li></ul></blockquote><p>b</p>"),
        ("> a\n      b", "<blockquote><p>a</p></blockquote><p>b</p>"),
        ("> *a\nb*", "<blockquote><p>*a</p></blockquote><p>b*</p>"),
        ("> `a\nb`", "<blockquote><p><code>a b</code></p></blockquote>"),
        ("```\n> a\nb\n```", '<pre tabindex="0"><code>&gt; ab</code></pre>'),
        ("    > a\n    b", '<pre tabindex="0"><code>&gt; ab</code></pre>'),
        ("> ```\n> a\nb", '<blockquote><pre tabindex="0"><code>a</code></pre></blockquote><p>b</p>'),
        ("> ä\n> ö\nü", "<blockquote><p>ä<br>ö</p></blockquote><p>ü</p>"),
    ],
)
def test_quotation_ends_with_its_marks_in_comments(source: str, html: str) -> None:
    assert comment(source) == html


def test_quotation_goes_on_in_posts_as_in_markdown() -> None:
    assert post("> a\nb") == "<blockquote><p>ab</p></blockquote>"


@pytest.mark.parametrize(
    ("kind", "source", "html"),
    [
        ("comment", "text\n---", "<p>text</p>\n<hr>"),
        ("comment", "text\n===", "<p>text<br>\n===</p>"),
        ("comment", "# a\n###### b", "<h3>a</h3>\n<h6>b</h6>"),
        ("post", "text\n---", "<h3>text</h3>"),
        ("post", "# a\n## b\n###### c", "<h2>a</h2>\n<h3>b</h3>\n<h6>c</h6>"),
    ],
)
def test_headings_stand_below_those_of_the_page(kind: renderer.Kind, source: str, html: str) -> None:
    assert to_html(source, "markdown", kind).strip() == html


def test_headings_of_stored_html_stand_below_those_of_the_page() -> None:
    assert to_html("<h1>a</h1><h2>b</h2><h3>c</h3>", "html", "post") == "<h2>a</h2><h2>b</h2><h3>c</h3>"
    assert to_html("<h1>a</h1><h4>b</h4>", "html", "comment") == "<h3>a</h3><h4>b</h4>"


@pytest.mark.parametrize(
    ("text", "href"),
    [
        ("https://example.org/a?b=c", "https://example.org/a?b=c"),
        ("www.example.de", "http://www.example.de"),
        ("ann@example.org", "mailto:ann@example.org"),
        ("ftp://example.org", "ftp://example.org"),
        ("<ftp://x>", "ftp://x"),
        ("[x](https://example.org)", "https://example.org"),
        ("[x](/people/1)", "/people/1"),
        ("[x][1]\n\n[1]: https://example.org", "https://example.org"),
        ("https://a.example/__init__.py", "https://a.example/__init__.py"),
        ("~~http://e.example~~", "http://e.example"),
        ("*http://e.example*", "http://e.example"),
    ],
)
def test_links_are_made(text: str, href: str) -> None:
    assert f'<a href="{href}" rel="nofollow ugc noopener">' in to_html(text, "markdown")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("main.py", "main.py"),
        ("e.g.this", "e.g.this"),
        ("`https://example.org`", "<code>https://example.org</code>"),
        ("<irc://x>", "&lt;irc://x&gt;"),
        ("std::map<made-up:x>", "std::map&lt;made-up:x&gt;"),
        ("xmpp:a@b.example", "xmpp:a@b.example"),
        ("[x](irc://y)", "x"),
        ("[*x*](javascript:y) z", "<em>x</em> z"),
    ],
)
def test_no_links_are_made(text: str, shown: str) -> None:
    assert comment(text) == f"<p>{shown}</p>"


def test_strikethrough_is_not_taken_along() -> None:
    assert comment("~~http://e.example~~") == '<p><del><a href="http://e.example">http://e.example</a></del></p>'


@pytest.mark.parametrize(
    ("text", "linked", "after"),
    [
        ("（https://example.com/a/b）", "https://example.com/a/b", "）"),
        ("https://example.com/路径。然后", "https://example.com/路径", "。然后"),
        ("https://example.com/路径，然后", "https://example.com/路径", "，然后"),
        ("https://example.com/路径、b", "https://example.com/路径", "、b"),
        ("www.example.com。", "www.example.com", "。"),
        ("https://example.com/X（消歧义）", "https://example.com/X（消歧义）", ""),
        ("https://example.com/X（消歧义）。", "https://example.com/X（消歧义）", "。"),
        ("「https://example.com/X（消）」と", "https://example.com/X（消）", "」と"),
        ("（https://example.com/X（消歧义））然", "https://example.com/X（消歧义）", "）然"),
        ("https://example.com/x).。", "https://example.com/x", ").。"),
        ("https://example.com/a?b=c！", "https://example.com/a?b=c", "！"),
        ("https://example.com/a?b=1&c=2。d", "https://example.com/a?b=1&amp;c=2", "。d"),
        ("https://example.com/x”", "https://example.com/x", "”"),
        ("https://example.com/x”.", "https://example.com/x", "”."),
        ("https://example.com/x.»", "https://example.com/x", ".»"),
    ],
)
@pytest.mark.parametrize("around", ["{}", "> {}", "ä *ö* {}", "| a |\n|---|\n| {} |", "x\n\n- y\n- {}"])
def test_full_width_punctuation_ends_a_bare_link(text: str, linked: str, after: str, around: str) -> None:
    html = comment(around.format(text))
    link = re.search('<a href="([^"]*)">([^<]*)</a>([^<]*)', html)
    assert link is not None
    assert (link[2], link[3]) == (linked, after)
    assert "%E3%80%82" not in link[1]


@pytest.mark.parametrize(
    "text",
    [
        "[https://e.example/a。b](https://e.example/a。b)",
        "[x](https://e.example/a。b)",
        "<https://e.example/a。b>",
        "[https://e.example/a。b]\n\n[https://e.example/a。b]: https://e.example/a。b",
    ],
)
def test_explicit_links_are_never_cut(text: str) -> None:
    assert 'href="https://e.example/a%E3%80%82b"' in comment(text)


@pytest.mark.parametrize("text", ["https://。x", "www.。x"])
def test_address_of_which_nothing_is_left_is_text(text: str) -> None:
    assert "<a" not in comment(text)


def test_tasks_are_disabled_boxes_with_a_name() -> None:
    html = comment("- [x] a\n- [ ] b")
    assert html == (
        '<ul class="contains-task-list">'
        '<li class="task-list-item"><input type="checkbox" disabled="" checked="" aria-label="done"> a</li>'
        '<li class="task-list-item"><input type="checkbox" disabled="" aria-label="to do"> b</li></ul>'
    )


def test_cells_are_aligned_by_classes() -> None:
    html = comment("| a | b | c | d |\n|:--|:-:|--:|---|\n| 1 | 2 | 3 | 4 |")
    for column, align in enumerate(("align-left", "align-center", "align-right")):
        assert f'<th class="{align}">{"abc"[column]}</th>' in html
        assert f'<td class="{align}">{column + 1}</td>' in html
    assert "<td>4</td>" in html and "style" not in html


def test_footnotes_of_two_comments_do_not_clash() -> None:
    source = "a[^1] b[^1] c[^ü x] d[^ü]\n\n[^1]: one\n[^ü]: two"
    first, second = comment(source, anchor="c1"), comment(source, anchor="c2")
    ids = re.findall(' id="([^"]*)"', first)
    assert len(ids) == len(set(ids)) == 5
    assert set(re.findall('href="#([^"]*)"', first)) == set(ids)
    assert not {*ids} & {*re.findall(' id="([^"]*)"', second)}
    assert all(re.fullmatch("fn(ref)?-c1-[0-9]+", one) for one in ids)


def test_ways_back_from_a_footnote_are_few() -> None:
    html = comment("[^1] " * 30 + "\n\n[^1]: x", anchor="c")
    assert html.count("footnote-backref") == 10
    assert html.count(' id="fnref-') == 30
    assert re.search("</a> *</p></li></ol></section>$", html)


def test_ids_of_others_do_not_stay() -> None:
    assert to_html('<a id="fn-1" name=x href="/">x</a><li id=y>', "html") == (
        '<p><a href="/" rel="nofollow ugc noopener">x</a></p>\n<li></li>'
    )


def test_pictures_of_posts_are_lazy_and_send_no_referrer() -> None:
    html = to_html("![alt](https://a.b/c.png)", "markdown", "post")
    assert '<img src="https://a.b/c.png" alt="alt" ' in html
    assert ' loading="lazy"' in html
    assert ' referrerpolicy="no-referrer"' in html


@pytest.mark.parametrize(
    ("source", "html"),
    [
        ("![x](http://t.example/p.gif)", '<a href="http://t.example/p.gif" class="picture">x</a>'),
        (
            "![](http://t.example/a/p%20q.gif?u=1)",
            '<a href="http://t.example/a/p%20q.gif?u=1" class="picture">p q.gif</a>',
        ),
        ("![](http://t.example/)", '<a href="http://t.example/" class="picture">t.example</a>'),
        ("[![x](http://t.example/p.gif)](/y)", '<a href="/y">x</a>'),
        ("![x](javascript:y)", "x"),
    ],
)
def test_pictures_of_comments_are_links(source: str, html: str) -> None:
    assert comment(source) == f"<p>{html}</p>"


def test_pictures_of_stored_comments_are_links() -> None:
    html = to_html('<img src="http://t.example/p.gif">', "html", "comment")
    assert html == '<p><a href="http://t.example/p.gif" class="picture" rel="nofollow ugc noopener">p.gif</a></p>\n'


@pytest.mark.parametrize(
    ("url", "is_shown"),
    [
        ("https://pics.example/a.png", True),
        ("http://PICS.example:80/a.png", True),
        ("//pics.example/a.png", True),
        ("https://pics.example.evil.example/a.png", False),
        ("https://pics.example@evil.example/a.png", False),
        (r"https://evil.example\@pics.example/a.png", False),
        ("https:pics.example/a.png", False),
        ("/a.png", False),
    ],
)
def test_comments_show_pictures_of_named_hosts_alone(url: str, is_shown: bool) -> None:
    html = to_html(f'<img src="{url}" alt="a">', "html", "comment", picture_hosts={"pics.example"})
    assert ("<img" in html) is is_shown


def test_more_than_fifty_pictures_are_links() -> None:
    html = post("![a](https://e.example/p.png)\n" * 60)
    assert html.count("<img") == 50
    assert html.count("<a href") == 10


EMPTY = [
    *("[abc]: http://e.example", "&nbsp;", ">", "> >", "#", "-", "1.", "- [ ]", "```\n```", "````", "[](https://e.example)"),
    *("\u200b\u2060\u00ad", "\u2800", "\u3164\u115f", "&#8203;", "***", "|a|\n|-|".replace("a", " "), "[^1]: x"),
    *("\ufe0f", "\U000e0041", "&#x200d;", "****", "[]()", "** **", "[&nbsp;](https://e.example)", "`\u200b`"),
]  # fmt: skip
VISIBLE = ["a", "![](https://e.example/a.png)", "&amp;", "`-`", "\\#", "```\na\n```", "😀", "\u0e01", "<b>", "1"]


@pytest.mark.parametrize("kind", ["comment", "post"])
@pytest.mark.parametrize("source", EMPTY)
async def test_text_that_shows_nothing_is_an_invalid_body(source: str, kind: renderer.Kind) -> None:
    with pytest.raises(Problem) as refusal:
        await render(source, "markdown", kind)
    assert [error.field for error in refusal.value.errors] == ["body"]


@pytest.mark.parametrize("source", VISIBLE)
async def test_text_that_shows_something_is_rendered(source: str) -> None:
    assert await render(source, "markdown", "comment")


async def test_imported_text_may_be_empty() -> None:
    assert await render("", "html", "comment", may_be_empty=True) == ""
    assert await render("&nbsp;", "html", "post", may_be_empty=True)


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
        ("<pre>a\n\n\nb</pre>\nc", '<pre tabindex="0">a\n\n\nb</pre><p>c</p>\n'),
        ("a\n\n<PRE class=x>b\n\nc", '<p>a</p>\n<pre tabindex="0">b\n\nc</pre>'),
        ("<p>a</p>\n\n<p>b</p>", "<p>a</p><p>b</p>"),
        ("<!-- wp:paragraph -->\n<p>a\nb</p>\n<!-- /wp:paragraph -->", "\n<p>a\nb</p>\n"),
        ("a<!--more-->\n\nb", "<p>a</p>\n<p>b</p>\n"),
        ("<prefix>a", "<p>a</p>\n"),
    ],
)
def test_stored_html_gets_paragraphs(stored: str, shown: str) -> None:
    assert to_html(stored, "html") == shown


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("<b>a<i>b</b>c", "<p><b>a<i>b</i></b>c</p>\n"),
        ("<ul><li>a<li>b</ul>", "<ul><li>a</li><li>b</li></ul>"),
        ("<table><tr><td>a<td>b<tr><td>c</table>d", "a b c d"),
        ("<table>lost<tr>also<td>c</table>", "lost also c"),
        ("<dl><dt>a<dd>b<dt>c</dl>", "a b c"),
        ("a < b and <3 <- c", "a < b and <3 <- c"),
        ("<a href='x>y</a> it's", "it's"),
        ("</div></p>a</b>", "a"),
        ("<td>a</td><caption>b", "a b"),
        ("<svg/>a<embed src=x>b<object data=y />c", "a x b y c"),
        ("<a href=/x>a<a href=/y>b</a>", "ab"),
    ],
)
def test_order_is_made_without_losing_words(stored: str, shown: str) -> None:
    html = to_html(stored, "html")
    if shown.startswith("<"):
        assert html == shown
    else:
        assert set(shown.split()) <= set(plain(html).replace("\n", " ").split())


NESTED = {
    "quotations": ">" * 200 + "x",
    "lists": "".join(" " * (2 * depth) + "- a\n" for depth in range(60)),
    "emphasis": "*a **b " * 60 + "b** a*" * 60,
    "mixed": "> - " * 40 + "a",
}


@pytest.mark.parametrize("text", NESTED.values(), ids=NESTED.keys())
async def test_deep_markdown_is_an_invalid_body(text: str) -> None:
    with pytest.raises(Problem, match="invalid") as refusal:
        await render(text, "markdown", "comment")
    assert [(error.field, error.message) for error in refusal.value.errors] == [("body", "is nested too deeply")]


@pytest.mark.parametrize("tag", ["div", "b", "span", "blockquote", "ul", "ul><li", "em", "table><tr><td", "dl><dd"])
def test_deep_html_loses_levels_and_no_word(tag: str) -> None:
    html = to_html(f"<{tag}> w" * 200 + f"</{tag[:2]}><table>x<tr><td>y<table>z", "html")
    assert plain(html).split().count("w") == 200
    assert set("xyz") <= set(plain(html))
    depth = deepest = 0
    for closes in re.findall("<(/?)(?!br|tbody)[a-z]", html):
        depth += -1 if closes else 1
        deepest = max(deepest, depth)
    assert (depth, deepest <= 50) == (0, True)


@pytest.mark.parametrize("tag", ["p", "li", "a href=x", "tr", "h1", "font", "td", "br"])
def test_elements_that_end_each_other_are_not_deep(tag: str) -> None:
    assert to_html(f"<{tag}>x" * 200, "html").count("x") >= 200


@pytest.mark.parametrize("depth", [1, 10, 25])
def test_allowed_nesting_loses_no_text(depth: int) -> None:
    assert "word" in to_html(">" * depth + " word", "markdown")
    assert "word" in to_html("".join(" " * (2 * level) + "- a\n" for level in range(depth)) + "\nword", "markdown")


@pytest.mark.parametrize(
    "text",
    [
        "[^1]" * 2500 + "\n\n[^1]: x",
        "|" + "a|" * 99 + "\n|" + "-|" * 99 + "\n" + "x\n" * 9000,
        "|" + "a|" * 200 + "\n|" + "-|" * 200 + "\nx",
    ],
)
def test_text_that_becomes_too_large_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="too large"):
        to_html(text, "markdown")


def test_ordinary_tables_are_not_too_large() -> None:
    table = "| a | b | c |\n|---|---|---|\n" + "| x | y | z |\n" * 900
    assert to_html(table + "\n" + table, "markdown").count("<tr>") == 1802


def test_expansion_of_references_is_bounded() -> None:
    source = "[a]: /" + "u" * 4990 + "\n\n" + "[a] " * 1248
    try:
        html = to_html(source, "markdown", "comment")
    except Refused:
        return
    assert len(html) <= 100_000 + 8 * len(source)


async def test_long_texts_are_rendered_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []

    def recorded(html: str) -> str:
        names.append(threading.current_thread().name)
        return sanitised(html)

    monkeypatch.setattr(renderer, "sanitised", recorded)
    await render("short", "markdown", "comment")
    await render("long " * 1000, "markdown", "comment")
    assert names[0] == threading.main_thread().name
    assert names[1].startswith("render")


async def test_texts_are_rendered_concurrently() -> None:
    texts = [f"*{number}* " + "x" * 5000 for number in range(20)]
    htmls = await asyncio.gather(*(render(text, "markdown", "comment") for text in texts))
    assert [html.partition("</em>")[0] for html in htmls] == [f"<p><em>{number}" for number in range(20)]


async def test_waiting_texts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render_queue, "MOST_WAITING", 3)
    text = "x" * 5000
    outcomes = await asyncio.gather(*(render(text, "markdown", "post") for _ in range(5)), return_exceptions=True)
    refusals = [outcome for outcome in outcomes if isinstance(outcome, Problem)]
    assert [(problem.kind, problem.headers) for problem in refusals] == [("unavailable", {"Retry-After": "1"})] * 2
    assert outcomes.count(f"<p>{text}</p>\n") == 3


def test_plain_text_of_html() -> None:
    html = to_html(
        "# Hi\n\na *b*\nc  \nd\n\n- x\n- y\n\n> q\n>\n> r\n\n```\n1\n\n  2\n```\n\n[t](https://a.b) & <", "markdown"
    )
    text = "# Hi\n\na b c\nd\n\n- x\n- y\n\n> q\n>\n> r\n\n    1\n\n      2\n\nt (https://a.b) & <"
    assert plain(html) == text
    assert plain("<table><tr><td>a</td><td>b</td></tr></table>") == "| a | b |"
    assert plain('<p><img alt="a cat" src="https://a.b/c"></p>') == "an image: a cat"
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
        ("<p>SEO " + "日本語" * 100 + "</p>", 200, "SEO " + "日本語" * 65 + "…"),
        ("<p>see https://example.org/" + "x" * 300 + "</p>", 100, "see https://example.org/" + "x" * 75 + "…"),
        ("<p>" + "一" * 150 + " " + "二" * 300 + "</p>", 200, "一" * 150 + " " + "二" * 48 + "…"),
        ("<p>" + "word " * 20 + "Donaudampfschifffahrt</p>", 110, ("word " * 20).strip() + "…"),
        ("<p>" + "😀" * 5 + "👩\u200d👩\u200d👧" * 3 + "</p>", 9, "😀" * 5 + "…"),
        ("<p>a\u202eb\ufffec</p>", 200, "abc"),
        ("<p>a &amp; b &lt;i&gt;</p>", 200, "a & b <i>"),
        ("", 200, ""),
    ],
)
def test_excerpt_is_cut_between_words_that_end_near(html: str, length: int, text: str) -> None:
    assert excerpt(html, length) == text


@pytest.mark.parametrize("tag", ["<b></b>", "<br>", "<hr>", '<a href="https://example.org/?a=1&amp;b=2"></a>'])
def test_an_excerpt_reads_the_beginning_of_a_large_text_only(tag: str) -> None:
    assert excerpt(f"<p>begin</p>{tag * 10_000}<p>end</p>") == "begin"


UNWANTED_REFERENCES = "a&#x202e;b&#8238;c&#X0202A;d&#x2066;e&#xfffe;f&#xE0041;g&#0008297;h"


def test_references_bring_no_unwanted_character() -> None:
    in_markdown = to_html(f'{UNWANTED_REFERENCES} [x](/y "t&#x202e;z") ![p&#8238;q](/p)', "markdown")
    link, picture = '<a href="/y" title="t&#x202e;z">x</a>', '<img src="/p" alt="p&#8238;q">'
    in_html = to_html(f"{UNWANTED_REFERENCES} {link}{picture}", "html")
    for html in (in_markdown, in_html):
        assert html.startswith("<p>ab") and "cdefgh" in html
        assert 'title="tz"' in html and 'alt="pq"' in html
        assert without_unwanted(html) == html
    assert "<code>&amp;#x202e;</code>" in to_html("`&#x202e;`", "markdown")
    assert "🏴󠁧󠁢󠁥󠁮󠁧󠁿" in to_html("🏴&#xE0067;&#xE0062;&#xE0065;&#xE006e;&#xE0067;&#xE007f;", "markdown")
    assert "\u200e" in to_html("a&#x200e;", "html")
    for in_html_alone in ("&#8238", "&#X00000202A;", "&#0000000008297;", "&#x202eg"):
        assert plain(to_html(f"a{in_html_alone}h", "html")) in ("ah", "agh")


@pytest.mark.parametrize("format", ["markdown", "html"])
def test_references_of_many_digits(format: Format) -> None:
    for digits in ("1" * 5_000, "0" * 5_000 + "65", "x" + "f" * 5_000):
        html = to_html(f"a &#{digits}; <a href='/&#{digits};' title='&#{digits};'>b</a>", format)
        assert plain(html).startswith("a ") and "b" in plain(html)
        assert is_visible(excerpt(html, 100))


@pytest.mark.parametrize(
    ("text", "href", "shown"),
    [
        ("Https://example.com/A", "https://example.com/A", "Https://example.com/A"),
        ("Www.example.de", "http://www.example.de", "Www.example.de"),
        ("WWW.EXAMPLE.DE/?a=1&b=2", "http://www.EXAMPLE.DE/?a=1&amp;b=2", "WWW.EXAMPLE.DE/?a=1&amp;b=2"),
        ("HTTP://example.com/X（消歧义）", "http://example.com/X%EF%BC%88%E6%B6%88%E6%AD%A7%E4%B9%89%EF%BC%89", None),
    ],
)
@pytest.mark.parametrize("around", ["{}", "({}).", "“{}”", "*a* {}, b", "> {}。", "<b>{}</b>x"])
def test_address_with_a_capital_beginning_is_linked(text: str, href: str, shown: str | None, around: str) -> None:
    after = escape(around, quote=False).partition("{}")[2]
    expected = f'<a href="{href}" rel="nofollow ugc noopener">{shown or text}</a>{after}'
    html = to_html(around.format(text), "markdown", "comment")
    assert expected in html or (around.startswith(("<", ">", "*")) and expected.removesuffix(after) in html)


def test_no_address_is_linked_twice_or_in_code() -> None:
    for text in (
        "`Https://a.example`",
        "    Https://a.example",
        "```\nWww.a.example\n```",
        "aHttps://a.example",
        "Https://",
    ):
        assert "<a" not in to_html(text, "markdown", "comment")
    assert to_html("[Https://a.example](/x)", "markdown", "comment").count("<a") == 1


@pytest.mark.parametrize("text", ["**テスト。**テスト", "これは**「強調」**です", "**이 (강조)**는", "日本**語**です"])
def test_emphasis_beside_ideographs(text: str) -> None:
    assert to_html(text, "markdown", "comment").count("<strong>") == 1


UNREADABLE = (
    "http://a:b/",
    "http://[",
    "http://a:99999/",
    "https://xn--/",
    "http://",
    "//[",
    "//a:b",
)


@pytest.mark.parametrize("url", UNREADABLE)
def test_address_whose_host_cannot_be_read_is_no_link(url: str) -> None:
    quoted = escape(url)
    for html in (
        to_html(f"[x]({url}) ![y]({url}) <{url}> {url} H{url[1:]}", "markdown", "comment"),
        to_html(f"[x]({url}) ![y]({url})", "markdown", "post"),
        to_html(f'<a href="{quoted}">x</a> <img src="{quoted}" alt="y">', "html"),
    ):
        assert "<a" not in html and "<img" not in html
        assert "x" in plain(html) and "y" in plain(html)


@pytest.mark.parametrize(
    "url", ["http://例え.jp/x", "http://[::1]/", "http://127.0.0.1:8000/", "https://a_b.example", "//a.example"]
)
def test_address_of_an_unusual_host_is_a_link(url: str) -> None:
    assert "href=" in to_html(f"[x]({url})", "markdown", "comment")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Cheers,\n--\nBob", "<p>Cheers,<br>--<br>Bob</p>"),
        ("Cheers,\n-- \nBob", "<p>Cheers,<br>--<br>Bob</p>"),
        ("a\n-\nb", "<p>a<br>-<br>b</p>"),
        ("a\n:-:\nb", "<p>a<br>:-:<br>b</p>"),
        ("> a\n> -\n> b", "<blockquote><p>a<br>-<br>b</p></blockquote>"),
        ("- x\n  --\n  y", "<ul><li>x<br>--<br>y</li></ul>"),
        ("text\n---\nmore", "<p>text</p><hr><p>more</p>"),
        ("```\na\n--\n```\n\nb\n--", '<pre tabindex="0"><code>a--</code></pre><p>b<br>--</p>'),
    ],
)
def test_hyphens_under_a_line_of_a_comment_are_no_table(text: str, shown: str) -> None:
    assert comment(text) == shown


def test_delimiters_with_a_bar_make_a_table() -> None:
    for text in ("| a |\n|--|\n| b |", "a | b\n-- | --\nc | d", "a |\n--|\nb |"):
        assert "<table" in to_html(text, "markdown", "comment")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("x\n\n[edit]: typo\n\ny", "<p>x</p><p>[edit]: typo</p><p>y</p>"),
        ("[^1]: no note\n\ny", "<p>[^1]: no note</p><p>y</p>"),
        ("- a\n\n  [x]: y", "<ul><li><p>a</p><p>[x]: y</p></li></ul>"),
        ("a\n\n> [x]: y", "<p>a</p><blockquote><p>[x]: y</p></blockquote>"),
        ("[n]: /u 'a\nb'\n\nc", "<p>[n]: /u 'a<br>b'</p><p>c</p>"),
        ("[x]: y\n[x]: z\n\n[x]", '<p><a href="y">x</a></p>'),
        ("[A]: /b\n\n[x][a]", '<p><a href="/b">x</a></p>'),
        ("```\n[z]: q\n```\n\n[w]: q", '<pre tabindex="0"><code>[z]: q</code></pre><p>[w]: q</p>'),
        ("`[a]: b`", "<p><code>[a]: b</code></p>"),
    ],
)
def test_definitions_of_a_comment_that_nothing_refers_to_are_text(text: str, shown: str) -> None:
    assert comment(text) == shown
