"""Shortcodes of WordPress become figures, links and code; unknown ones are left out, and no word of prose is."""

import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.operator.wordpress.code import with_code_escaped
from services.operator.wordpress.players import OWN, Attachment, Replacements
from services.operator.wordpress.shortcodes import names_in, without_shortcodes

FILES = {
    "1": Attachment("http://b.example/a.jpg", "One"),
    "2": Attachment("http://b.example/b.PNG?x=1", ""),
    "3": Attachment("http://b.example/c.mp3", ""),
    "4": Attachment("http://b.example/d.mp4", ""),
}
REPLACE = Replacements(FILES, {"7": ["1", "2", "3"], "8": ["4"]}, "7")


def converted(html: str, left_out: Counter[str] | None = None) -> str:
    html = with_code_escaped(html)
    left_out = Counter() if left_out is None else left_out
    return without_shortcodes(html, REPLACE, OWN | names_in(html), left_out)


def link(address: str) -> str:
    return f'<a href="{address}">{address}</a>'


PICTURE_1 = '<figure><img src="http://b.example/a.jpg" alt=""><figcaption>One</figcaption></figure>'
PICTURE_2 = '<figure><img src="http://b.example/b.PNG?x=1" alt=""></figure>'


V1 = "http://b.example/v.mp4"
V2 = "http://b.example/v.webm"
SOUND = "http://b.example/x.mp3"
FIGURE = "<figure><img src=y>"


@pytest.mark.parametrize(
    ("source", "html"),
    [
        (
            '[caption id="a" align="left" width="3"]<a href="/x">\n<img src="y.jpg"\n /></a> A <em>dog</em>[/caption]',
            '<figure><a href="/x">\n<img src="y.jpg"\n /></a><figcaption>A <em>dog</em></figcaption></figure>',
        ),
        (
            '[caption caption="Say &lt;b&gt; [1]"]<img src=y>[/caption]',
            f"{FIGURE}<figcaption>Say &lt;b&gt; [1]</figcaption></figure>",
        ),
        ("[wp_caption]words[/wp_caption]", "<figure>words</figure>"),
        (
            "[caption]<img src=y> a [caption]<img src=y> b[/caption][/caption]",
            f"{FIGURE}<figcaption>a \n{FIGURE}<figcaption>b</figcaption></figure></figcaption></figure>",
        ),
        ("[gallery]", f"{PICTURE_1}\n\n{PICTURE_2}"),
        ('[gallery columns=3 ids="2,1"/]', f"{PICTURE_2}\n\n{PICTURE_1}"),
        ("[gallery ids=”1,99″]", PICTURE_1),
        ('[gallery&nbsp;ids="1"&nbsp;link="file"]', PICTURE_1),
        ('[gallery exclude="1"]', PICTURE_2),
        ('a[gallery id="8"]b', "ab"),
        (
            """[caption]<a title="x > y" href='>'><img alt="a > b" src=y></a> c[/caption]""",
            """<figure><a title="x > y" href='>'><img alt="a > b" src=y></a><figcaption>c</figcaption></figure>""",
        ),
        (f'[audio src="{SOUND}"]', link(SOUND)),
        ("[video mp4='/up/v.mp4' poster=/p.jpg]", link("/up/v.mp4")),
        (f'[audio mp3="{SOUND}"][/audio]', link(SOUND)),
        (f"[audio {SOUND}|titles=T|loop=yes]", link(SOUND)),
        (f"[audio:{SOUND},{V1}]", f"{link(SOUND)} {link(V1)}"),
        ("[audio]", link("http://b.example/c.mp3")),
        (
            f'[video width="4" poster="http://b.example/p.jpg" mp4="{V1}" webm="{V2}"]Words[/video]',
            f"{link(V1)} {link(V2)} Words",
        ),
        ("[playlist type='video' ids='4']", link("http://b.example/d.mp4")),
        ("[embed width='5']http://v.example/1?a=1&amp;b=2[/embed]", link("http://v.example/1?a=1&amp;b=2")),
        ("[embed]see here[/embed]", "see here"),
        ("[youtube=http://youtube.com/watch?v=abc&w=1]", link("http://youtube.com/watch?v=abc&amp;w=1")),
        ("[youtube dQw4w9WgXcQ]", link("https://www.youtube.com/watch?v=dQw4w9WgXcQ")),
        ('[vimeo id="123456"]', link("https://vimeo.com/123456")),
        ("[gist]abcdef0123[/gist]", link("https://gist.github.com/abcdef0123")),
        (
            '[sourcecode language="php"]\necho "<form>[x]</form>";\n[/sourcecode]',
            '<pre><code>echo "&lt;form&gt;&#91;x]&lt;/form&gt;";</code></pre>',
        ),
        ("[cc_php lines=3]<? $a[0] ?>[/cc_php]", "<pre><code>&lt;? $a&#91;0] ?&gt;</code></pre>"),
        ("a [cci lang=c]<x>[/cci] b", "a <code>&lt;x&gt;</code> b"),
        ("[php]a &lt; b &amp;&amp; c[/php]", "<pre><code>a &lt; b &amp;&amp; c</code></pre>"),
        ("[CODE]<b>[/code]", "<pre><code>&lt;b&gt;</code></pre>"),
        (
            '<pre lang="x">[gallery] [code]y[/code]</pre>',
            "<pre><code>&#91;gallery] &#91;code]y&#91;/code]</code></pre>",
        ),
        ("<pre>[code]<form>[/code]</pre>", "<pre>&lt;form&gt;</pre>"),
        (
            "<pre><code>[gallery] [code] x &amp; <y></code></pre> a [code]<z>[/code]",
            "<pre><code>[gallery] [code] x &amp; &lt;y></code></pre> a <pre><code>&lt;z&gt;</code></pre>",
        ),
        ("<code>[php]</code> <b>a</b> <code>[/php]</code>", "<code>[php]</code> <b>a</b> <code>[/php]</code>"),
        ("<pre><kbd>[tt]</kbd> a [/tt]</pre> [/tt]", "<pre><kbd>[tt]</kbd> a [/tt]</pre> [/tt]"),
        ("<pre><code>[css]</code> [css]<x>[/css]</pre>", "<pre><code>[css]</code> &lt;x&gt;</pre>"),
        ("<code>[gallery] [[gallery]]</code>", "<code>[gallery] &#91;gallery]</code>"),
        (
            "[[gallery]] [[caption id=1]x[/caption]] [[code]y[/code]]",
            "&#91;gallery] &#91;caption id=1]x&#91;/caption] &#91;code]y&#91;/code]",
        ),
        ("[[video]", "&#91;"),
        ("<!-- [gallery] --><a title='[gallery]'>x</a>", "<!-- [gallery] --><a title='[gallery]'>x</a>"),
    ],
)
def test_known_shortcodes_are_replaced(source: str, html: str) -> None:
    assert converted(source).strip() == html


@pytest.mark.parametrize(
    ("source", "html", "names"),
    [
        ('a [contact-form-7 id="1" title="C [x]"] b', "a  b", ["contact-form-7"]),
        ("[box style=a]In <b>it</b>[/box]", "In <b>it</b>", ["box"]),
        ("[quote]words[/quote]", "words", ["quote"]),
        ("[a x=1][b]one[/a]two[/b]", "onetwo", ["a", "b"]),
        ("[row][col]1[/col][col]2[/col][/row]", "12", ["col", "col", "row"]),
        ("[spacer/] [spacer /] [x y=1] [x]", "   ", ["spacer", "spacer", "x", "x"]),
        ('[foo a="&quot;"]', "", ["foo"]),
        ("[[foo a=1]]", "&#91;foo a=1]", []),
        ("[gallery ids=99][/caption]", "", ["gallery"]),
        ("a\n [contact-form] \n<p>[my_map]</p>[toc]", "a\n  \n<p></p>", ["contact-form", "my_map", "toc"]),
    ],
)
def test_unknown_shortcodes_are_left_out_and_counted(source: str, html: str, names: list[str]) -> None:
    left_out: Counter[str] = Counter()
    assert converted(source, left_out) == html
    assert sorted(left_out.elements()) == names


@pytest.mark.parametrize(
    "prose",
    [
        *(
            "He said [sic] it.",
            "[1] [2a]",
            "[...]",
            "[Edit: see http://a.b/?c=d]",
            "[…] [Update 3]",
            "a[i] = b[j]",
            "[",
        ),
        *(
            "[VIDEO] [Audio]",
            "[if x == y]",
            "[a = b]",
            "[[Some page]]",
            "[tweet this]",
            "[/rant]",
            "]",
            "[]",
            "[ x=1 ]",
        ),
        *(
            "[youtube comments]",
            "[x](http://a.b)",
            "<b [x] y>z</b>",
            "the [so-called] end",
            "x [toc]",
            "[end]",
            "[code] without an end",
            "[[]]",
        ),
    ],
)
def test_prose_in_brackets_stays(prose: str) -> None:
    left_out: Counter[str] = Counter()
    assert converted(prose, left_out) == prose
    assert not left_out


PIECES = st.lists(
    st.sampled_from(
        ["[", "]", "[[", "]]", "[a]", "[/a]", "[a b='1']", "[/b]", "[b]", "[gallery]", "[caption]", "[/caption]", "=",
         "[/code]", "<pre>", "</pre>", "<code>", "</code>", "<", ">", "<!--", "-->", "<img src=x>", "word", " ", "/",
         "[audio:http://a.b]", "[embed]", "[/embed]", "[c/]", "[code]", '"', "'", "<pre lang=x>", "[php]", "[/php]"]
    ),
    max_size=25,
)  # fmt: skip


def are_closed(html: str) -> bool:
    """Return whether every `pre` and `code` ends: what stands behind one that does not is in it, or not."""
    depth = Counter[str]()
    for end, name in re.findall(r"<(/?)(pre|code)\b", html):
        depth[name] += -1 if end else 1
        if depth[name] < 0:
            return False
    return not any(depth.values())


@settings(max_examples=400, deadline=None)
@given(PIECES)
def test_no_word_between_shortcodes_is_lost_and_the_result_stays(pieces: list[str]) -> None:
    source = "".join(pieces)
    html = converted(source)
    assert html.count("word") == source.count("word")
    assert with_code_escaped(html) == html or "[" in html or not are_closed(html)
