"""An import loses no word: what a second reader, written in another way, finds in the source is in the result.

The second reader knows nothing of our modules: it takes code out by its marks, shortcodes by a pattern, and walks
what is left with the standard library's parser.
"""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.chassis.text.html_to_text import plain
from services.chassis.text.renderer import to_html
from tests.unit.operator_exports import comment, export, item, written
from tests.unit.test_operator_import import InMemoryServices, run

UNSEEN = {"script", "style"}
CODE = re.compile(
    r"<(pre|code) lang=[^>]*>(.*?)</\1>|\[(code|sourcecode|cc_php|php)[^\]]*\](.*?)\[/\3\]", re.DOTALL | re.IGNORECASE
)
SHORTCODE = re.compile(r"(?<!\[)\[/?(?:caption|gallery|audio|video|embed|box|contact-form-7)\b[^\]]*\](?!\])")
WORD = re.compile(r"w[0-9]+w")


class SecondReader(HTMLParser):
    """Collects the words that stand outside scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self._unseen = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._unseen += tag in UNSEEN

    def handle_endtag(self, tag: str) -> None:
        self._unseen -= tag in UNSEEN

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.words += WORD.findall(data)


def words_of(source: str) -> list[str]:
    """Return the words of a text of WordPress in their order."""

    def without_markup(found: re.Match[str]) -> str:
        return " ".join(WORD.findall(found[2] or found[4] or ""))

    reader = SecondReader()
    reader.feed(SHORTCODE.sub(" ", CODE.sub(without_markup, source)))
    reader.close()
    return reader.words


# `#` stands for a word that stands nowhere else.
PIECES = (
    "#",
    "# #",
    "\n",
    "\n\n",
    "<br />\n",
    "<p>#</p>",
    "<b>#",
    "</b>",
    "<p\nclass='x'>#\n#",
    "<em>#</em># ",
    "<form action='/x'>\n<label>#</label><input value=y> #</form>",
    "<textarea rows=3>#\n#</textarea>",
    "<select><option>#<option selected>#</select>",
    "<noscript>#<img src='http://b.example/x.gif'></noscript>",
    "<button>#</button>",
    "<fieldset><legend>#</legend>#</fieldset>",
    "<section><header>#</header>#</section><aside>#</aside>",
    "<video src='http://b.example/v.mp4'>#</video>",
    "<object data='http://b.example/o'><param name=movie value=m>#<embed src='http://b.example/o'></object>",
    "<iframe src='http://b.example/f'>#</iframe>",
    "<svg><text>#</text></svg>",
    "<canvas>#</canvas>",
    "<script>var a = '#';</script>",
    "<style>.w { content: '#' }</style>",
    "<!-- # -->",
    "<!--more-->",
    "<table>#<tr><td>#<td>#</table>#",
    "<ul><li>#<li>#</ul>",
    "<blockquote>#\n\n#</blockquote>",
    "<pre>#\n\n  # <b>#</b></pre>",
    '<pre lang="php">echo "<form>#</form>"; $# = 1; // <!-- # --> <script>#</script></pre>',
    "<code lang='sql'>select # < #</code>",
    "[sourcecode language='html']<b>#</b>\n\n<#> &amp; [gallery] #[/sourcecode]",
    "[code]<?php # ?>[/code]",
    "[cc_php]# <# [b #][/cc_php]",
    "[php]#[/php]",
    "[caption id='a' width='3']<a href='/x'><img\nsrc='x.jpg' /></a> # <em>#</em>[/caption]",
    "[gallery ids='1,2']",
    "[box color='red']# #[/box]",
    "[contact-form-7 id='3']",
    "[[gallery]] #",
    "[audio src='http://b.example/a.mp3'][/audio]",
    "[embed]http://b.example/#[/embed]",
    "[# sic]",
    "a < # and # > b",
    "&lt;#&gt; &amp; &nbsp;# &eacute;#",
    "http://b.example/#?x=1&amp;y=#.",
    "<a\nhref='http://blog.example/?p=1'\n>#</a>",
    "<a href='http://blog.example/2'><img src=y alt='z'> #</a>",
    "<h1>#</h1>",
    "<font size=1>#</font><center>#</center>",
    "<details><summary>#</summary>#</details>",
    "</div></td></p>#",
    "<marquee>#</marquee><unknown-element>#</unknown-element>",
)


def numbered(pieces: list[str]) -> str:
    count = iter(range(100_000))
    return re.sub("#", lambda _: f"w{next(count)}w", " ".join(pieces))


def shown(html: str) -> list[str]:
    return WORD.findall(plain(html))


def in_order(needed: list[str], found: list[str]) -> bool:
    """Return whether the needed words are found in their order. Others may stand between them: a player's address."""
    rest: Iterator[str] = iter(found)
    return all(word in rest for word in needed)


async def bodies(folder: Path, posts: list[str], comments: list[str]) -> tuple[list[str], list[str]]:
    """Return posts and comments as an import of them sends them, after a way through a file."""
    items = [item(number + 1, content=text) for number, text in enumerate(posts)]
    items.append(item(1000, *(comment(number, comment_content=text) for number, text in enumerate(comments, 1))))
    services = InMemoryServices()
    report = await run(written(folder, export(*items, blog="http://blog.example")), services)
    assert report.is_complete
    return (
        [services.sent("posts", str(number + 1))["body"] for number in range(len(posts))],
        [services.sent("comments", str(number + 1))["body"] for number in range(len(comments))],
    )


@pytest.mark.parametrize("piece", PIECES)
async def test_each_piece_loses_no_word(tmp_path: Path, piece: str) -> None:
    source = numbered([piece, "#"])
    [body], [said] = await bodies(tmp_path, [source], [source])
    assert in_order(words_of(source), shown(to_html(body, "html", "post")))
    assert in_order(words_of(source), shown(to_html(said, "html", "comment")))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=15), min_size=8, max_size=8))
async def test_pieces_in_any_order_lose_no_word(tmp_path: Path, texts: list[list[str]]) -> None:
    sources = [numbered(pieces) for pieces in texts]
    for source, body in zip(sources, (await bodies(tmp_path, sources, []))[0], strict=True):
        assert in_order(words_of(source), shown(to_html(body, "html", "post")))
