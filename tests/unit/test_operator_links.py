"""Links between the posts of a blog lead to where they are now; no word of a text changes."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.operator.wordpress.links import Places, addresses_of, path_of, with_new_links
from services.operator.wordpress.reader import Record

BASE = "http://blog.example/2009/02/07/3/"


def places() -> Places:
    found = Places()
    for address, slug in (
        ("http://blog.example/2009/02/07/3/", "three"),
        ("http://blog.example/?p=3", "three"),
        ("http://blog.example/2007/01/שלום/", "שלום"),
        ("http://blog.example/?page_id=12", "about"),
        ("http://blog.example/2009/02/07/3/", "a later one"),
    ):
        found.add(address, slug)
    return found


@pytest.mark.parametrize(
    "address",
    [
        *("/2009/02/07/3/", "/2009/02/07/3", "../3/", "./", "../../../../2009/02/07/3/#comment-5", "3/"),
        *("../2009/02/07/3", "../?p=3", "HTTP://Blog.Example/2009/02/07/3/"),
        *("https://www.blog.example/2009/02/07/3/?utm=x&amp;y=1", "//blog.example/2009//02/07/3", "/?p=3", "?p=3"),
        *("http://blog.example/index.php?p=3", "http://blog.example/2009/02/07/3/comment-page-2/#c", "\n/?p=3 "),
    ],
)  # fmt: skip
def test_links_inside_the_blog_lead_to_the_new_place(address: str) -> None:
    assert with_new_links(f"<a title='x' href=\"{address}\"\n>y</a>", BASE, places()) == (
        "<a title='x' href=\"/posts/three\"\n>y</a>"
    )


@pytest.mark.parametrize(
    "address", [BASE + "#fn:1", "/?p=3#fn:1", "https://www.blog.example/2009/02/07/3#fn:1", "#fn:1"]
)
def test_links_to_a_place_in_the_same_text_stay_inside_it(address: str) -> None:
    html = "<p id='fn:1'>x</p>"
    assert with_new_links(f'<a href="{address}">y</a>{html}', BASE, places()) == f'<a href="#fn:1">y</a>{html}'
    assert with_new_links(f'<a href="{BASE}#no">y</a>', BASE, places()) == '<a href="/posts/three">y</a>'
    elsewhere = '<a href="/?page_id=12#fn:1">y</a>'
    assert with_new_links(elsewhere + html, BASE, places()) == f'<a href="/posts/about">y</a>{html}'


@pytest.mark.parametrize(
    ("html", "new"),
    [
        ("<A HREF=../2007/01/%D7%A9%d7%9c%D7%95%D7%9D/>x</A>", '<A HREF="/posts/%D7%A9%D7%9C%D7%95%D7%9D">x</A>'),
        ("see http://blog.example/?page_id=12.", 'see <a href="/posts/about">http://blog.example/?page_id=12</a>.'),
        ("(www.blog.example/2009/02/07/3)", '(<a href="/posts/three">www.blog.example/2009/02/07/3</a>)'),
        ('<img src="../a&amp;b.jpg" alt="/">', '<img src="http://blog.example/2009/02/07/a&amp;b.jpg" alt="/">'),
        ('<a href="/other?a=1&amp;b=2">x</a>', '<a href="http://blog.example/other?a=1&amp;b=2">x</a>'),
        ("<video poster=p.jpg>", '<video poster="http://blog.example/2009/02/07/3/p.jpg">'),
        ("<source src='v.mp4'>", '<source src="http://blog.example/2009/02/07/3/v.mp4">'),
    ],
)  # fmt: skip
def test_links_become_new_or_whole(html: str, new: str) -> None:
    assert with_new_links(html, BASE, places()) == new


@pytest.mark.parametrize(
    "html",
    [
        "<a href='#x'>y</a>",
        "<a href='mailto:a@b.c'>y</a>",
        "<a href=javascript:x>y</a>",
        "<a href>y</a>",
        "<a href=''>",
        '<a href="http://other.example/2009/02/07/3/">y</a>',
        "<a href='http://[x'>y</a>",
        '<a href="//blog.example/no">y</a>',
        "<pre>http://blog.example/?p=3</pre>",
        "<a href='#'>http://blog.example/?p=3</a>",
        "<!-- http://blog.example/?p=3 -->",
        "<script>'http://blog.example/?p=3'</script>",
        "<title>see http://blog.example/?p=3</title>",  # its text is no markup: a link would be shown as such
        "<textarea><a href='/?p=3'>x</a> and more</textarea>",
        "<xmp><b>x</b> and more",
        "<title><a href='/?p=3'></title>",
        "<b title='http://blog.example/?p=3'>x</b>",
        "a < b http://other.example",
        "<a href='http://blog.example/'>home</a>",
        "http://blog.example/?p=99",
        "http://",
        "<",
        "<a href='http://blog.example/?p=x'>",
    ],
)  # fmt: skip
def test_everything_else_stays(html: str) -> None:
    assert with_new_links(html, BASE, places()) == html


def test_without_a_base_relative_addresses_stay() -> None:
    assert with_new_links("<a href='../x'>y</a>", "", places()) == "<a href='../x'>y</a>"
    assert with_new_links("<a href='http://blog.example/?p=3'>y</a>", "", places()) == '<a href="/posts/three">y</a>'


def test_the_addresses_of_an_item() -> None:
    fields = {"link": "http://b.example/sub/2009/x/", "guid": "http://b.example/sub/?p=5", "wp:post_id": "5"}
    found = addresses_of(Record("item", fields), "http://b.example/sub")
    assert (
        found
        == ["http://b.example/sub/2009/x/", "http://b.example/sub/?p=5", "http://b.example/sub/?p=5"[:0] or found[1]][
            :2
        ]
    )
    assert [path_of(one) for one in found] == ["/sub/2009/x/", "/sub/?p=5"]
    assert addresses_of(Record("item", {"link": "javascript:x", "guid": "urn:x"}), "") == []
    assert path_of("http://[") is None


PIECES = st.lists(
    st.sampled_from(
        ["<a href='/?p=3'>", "</a>", "http://blog.example/?p=3", "<", ">", "word", " ", '"', "'", "=", "<!--", "-->",
         "<pre>", "</pre>", "<script>", "</script>", "<img src=x", "&amp;", "&lt;", "<code>", "</code>", "<a href="]
    ),
    max_size=20,
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(PIECES)
def test_only_addresses_change(pieces: list[str]) -> None:
    source = "".join(pieces)
    new = with_new_links(source, BASE, Places())
    assert re.sub(r'="?\'?http://blog\.example/[^"\'>]*["\']?', "", new).count("word") <= source.count("word")
    assert with_new_links(new, BASE, Places()) == new
