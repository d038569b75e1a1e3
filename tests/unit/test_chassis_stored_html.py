"""HTML as blog software stores it: code, forms, players and bare addresses lose no word."""

import re

import pytest

from services.chassis.text.imported_html import paragraphs
from services.chassis.text.renderer import to_html
from services.chassis.text.stored_code import with_code_escaped
from services.chassis.text.tokens import RAW

REL = ' rel="nofollow ugc noopener"'
FOCUS = ' tabindex="0"'


def shown(stored: str) -> str:
    return to_html(stored, "html").replace(REL, "").replace(FOCUS, "")


@pytest.mark.parametrize(
    ("stored", "html"),
    [
        (
            '<pre lang="php">echo "<form>Name</form>"; $x = 1;</pre>',
            '<pre><code>echo "&lt;form&gt;Name&lt;/form&gt;"; $x = 1;</code></pre>',
        ),
        ("<pre LANG='c'>\n#include <stdio.h>\n\nx;\n</pre>", "<pre><code>#include &lt;stdio.h&gt;\n\nx;</code></pre>"),
        ('<code lang="sql">a <> b</code>', "<p><code>a &lt;&gt; b</code></p>\n"),
        ('<code lang="sql">a\n<> b</code>', "<pre><code>a\n&lt;&gt; b</code></pre>"),
        ('<pre lang="x">&lt;b&gt; &amp;&amp;</pre>', "<pre><code>&lt;b&gt; &amp;&amp;</code></pre>"),
        ('<pre lang="x"><b> &amp;&amp;</pre>', "<pre><code>&lt;b&gt; &amp;amp;&amp;amp;</code></pre>"),
        ('<pre lang="x" escaped="true">&lt;i&gt;</pre>', "<pre>&lt;i&gt;</pre>"),
        (
            "<pre lang='x'><!-- a --><script>b</script></pre>",
            "<pre><code>&lt;!-- a --&gt;&lt;script&gt;b&lt;/script&gt;</code></pre>",
        ),
        ("<pre><b>x</b> List<String> <?php y ?></pre>", "<pre><b>x</b> List&lt;String&gt; &lt;?php y ?&gt;</pre>"),
        ("<pre><form action='<x'>n</form></pre>", "<pre>&lt;form action='&lt;x'&gt;n&lt;/form&gt;</pre>"),
        ("<PRE LANG=x><i></PRE\n>", "<pre><code>&lt;i&gt;</code></pre>"),
        ("<kbd><stdin></kbd> <samp lang=x><b></samp>", "<p><kbd>&lt;stdin&gt;</kbd> <code>&lt;b&gt;</code></p>\n"),
        (
            '<script type="syntaxhighlighter" class="brush: js"><![CDATA[\na < "<b>"\n]]></script>',
            '<pre><code>a &lt; "&lt;b&gt;"</code></pre>',
        ),
        ("a <code><stdio.h></code>", "<p>a <code>&lt;stdio.h&gt;</code></p>\n"),
        ("<code>if (a<b && c>d)</code>", "<p><code>if (a&lt;b &amp;&amp; c&gt;d)</code></p>\n"),
        ("<pre>if a <b and b> c or i<s || s>1</pre>", "<pre>if a &lt;b and b&gt; c or i&lt;s || s&gt;1</pre>"),
        (
            "<code>Map<String, List<S>></code> <s>a</s>",
            "<p><code>Map&lt;String, List&lt;S&gt;&gt;</code> <s>a</s></p>\n",
        ),
        (
            "<pre><code>List<I> <b>x</b></code> <u>y</u></pre>",
            "<pre><code>List&lt;I&gt; <b>x</b></code> <u>y</u></pre>",
        ),
        ("<code>a <b title='</code>'>c</b>", "<p><code>a &lt;b title='&lt;/code&gt;'&gt;c</code></p>\n"),
        ("<pre>x <i = 1> y <q == z></pre>", "<pre>x &lt;i = 1&gt; y &lt;q == z&gt;</pre>"),
        ("<pre><b class='k'>if</b><br/>x<br clear=all />y <I>z</I ></pre>", "<pre><b>if</b><br>x<br>y <i>z</i></pre>"),
        ("<code>never ends <form>x</form>", "<p><code>never ends</code></p>\n<div>x</div>"),
        ("<!-- <pre lang=x> -->a</pre>", "<p>a</p>\n"),
    ],
)
def test_code_is_escaped(stored: str, html: str) -> None:
    assert shown(stored) == html


def test_escaping_code_again_changes_nothing() -> None:
    stored = "<pre lang=x>[code]<b>[/code] &lt;</pre> <pre><q>İ <form></pre><code><?x></code> <script>'<pre>'</script>"
    assert with_code_escaped(with_code_escaped(stored)) == with_code_escaped(stored)


@pytest.mark.parametrize(
    ("stored", "html"),
    [
        ("<form><label>Name</label> <b>x</b></form>", "<div>Name <b>x</b></div>"),
        ("<textarea>a <b> &amp;\n\nc</textarea>", "<pre>a &lt;b&gt; &amp;\n\nc</pre>"),
        ("<noscript>On!</noscript>", "<div>On!</div>"),
        ("<select><option>One<option>Two</select>", "<p><br>One<br>Two</p>\n"),
        ("<section>a</section><section>b</section>", "<div>a</div><div>b</div>"),
        ("<svg><text>a</text></svg> <math><mi>x</mi></math>", "<p>a x</p>\n"),
        ("<canvas>a</canvas><template>b</template><xmp><i></xmp>", "<p>ab</p>\n<pre>&lt;i&gt;</pre>"),
        ("<script>x</script>a<style>y</style>", "<p>a</p>\n"),
        ("<form>never ends", "<div><p>never ends</p>\n</div>"),
        ("<script src=x />after", "<p>after</p>\n"),
        ("<textarea>never <i>ends", "<pre>never &lt;i&gt;ends</pre>"),
    ],
)
def test_words_of_other_elements_stay(stored: str, html: str) -> None:
    assert shown(stored) == html


@pytest.mark.parametrize(
    ("stored", "addresses"),
    [
        ('<video src="http://a.example/v.mp4">words</video>', ["http://a.example/v.mp4"]),
        ("<video><source src=http://a.b/1><source src=http://a.b/2></video>", ["http://a.b/1", "http://a.b/2"]),
        ("<audio controls\n src='https://a.b/x.mp3'></audio>", ["https://a.b/x.mp3"]),
        ('<iframe src="//www.example/embed/1" width=5></iframe>', ["//www.example/embed/1"]),
        (
            '<object data="http://a.b/o"><param name="movie" value="http://a.b/m"><param name=x value=http://no.example>'
            '<embed src="http://a.b/m"></embed></object><embed src="http://a.b/m">',
            ["http://a.b/o", "http://a.b/m", "http://a.b/m"],
        ),
        ("<embed src=javascript:x><embed src=data:text/html,x>", []),
        ("<frame src=http://a.b/><area href=http://a.b/c alt=C>", ["http://a.b/", "http://a.b/c"]),
    ],
)
def test_addresses_of_players_stay(stored: str, addresses: list[str]) -> None:
    html = shown(stored)
    assert [part.partition('"')[0] for part in html.split('<a href="')[1:]] == addresses
    assert ("words" in html) == ("words" in stored)


@pytest.mark.parametrize(
    ("stored", "html"),
    [
        ("See http://a.b/x?y=1&amp;z=2.", 'See <a href="http://a.b/x?y=1&amp;z=2">http://a.b/x?y=1&amp;z=2</a>.'),
        ("(https://a.b/c_(d))", '(<a href="https://a.b/c_(d)">https://a.b/c_(d)</a>)'),
        ("www.example.de, x", '<a href="http://www.example.de">www.example.de</a>, x'),
        ("&quot;ftp://a.b/&quot;", '"<a href="ftp://a.b/">ftp://a.b/</a>"'),
        ("<http://a.b/C?d>", '&lt;<a href="http://a.b/C?d">http://a.b/C?d</a>&gt;'),
        ("<me@a.example>", "&lt;me@a.example&gt;"),
        ("&lt;http://c.d&gt;", '&lt;<a href="http://c.d">http://c.d</a>&gt;'),
        ("看http://a.b。后", '看<a href="http://a.b">http://a.b</a>。后'),
        ("<a href='http://a.b'>http://c.d</a>", '<a href="http://a.b">http://c.d</a>'),
        ("<code>http://a.b</code>", "<code>http://a.b</code>"),
        ("xhttp://a.b www. http:// www.x me@www.a.b", "xhttp://a.b www. http:// www.x me@www.a.b"),
        ("<b>http://a.b</b>/c", '<b><a href="http://a.b">http://a.b</a></b>/c'),
        ("http://a.b/" + "x" * 3000, "http://a.b/" + "x" * 3000),
    ],
)
def test_bare_addresses_are_links(stored: str, html: str) -> None:
    assert shown(stored) == f"<p>{html}</p>\n"


@pytest.mark.parametrize(
    ("stored", "html"),
    [
        ("a<br />\nb<br>\n c", "<p>a<br>\nb<br>\n c</p>\n"),
        ("<br />\n\nb", "<p><br></p>\n<p>b</p>\n"),
        ('a <a\nhref="/x"\ntitle="y\nz">b</a>', '<p>a <a href="/x" title="y z">b</a></p>\n'),
        ("<p\nclass=x>a</p>", "<p>a</p>"),
        ('<b\n>a</b\n>\n"c"', '<p><b>a</b><br>\n"c"</p>\n'),
    ],
)
def test_tags_may_span_lines(stored: str, html: str) -> None:
    assert shown(stored) == html


def test_a_picture_over_two_lines_stays_one() -> None:
    html = shown('<img src="http://a.b/c.png"\n alt="b"\n\n width="5">')
    assert html.count("<img") == 1 and 'alt="b"' in html and 'width="5"' in html and "<br>" not in html


def test_what_editors_mark_is_left_as_it_is() -> None:
    assert paragraphs("<!-- wp:code -->\n<pre><code>a\n\n&lt;!-- b</code></pre>\n<!-- /wp:code -->") == (
        "\n<pre><code>a\n\n&lt;!-- b</code></pre>\n"
    )


@pytest.mark.parametrize(
    ("stored", "html"),
    [
        ("<title>a\n\nb</title>c", "<div>a\n\nb</div><p>c</p>\n"),
        ("<title>a\nb</title>", "<div>a\nb</div>"),
        ("<title>a <i>b</i>", "<div>a &lt;i&gt;b&lt;/i&gt;</div>"),
        ("<textarea>a\n\nb", "<pre>a\n\nb</pre>"),
    ],
)
def test_what_is_no_markup_gets_no_paragraphs(stored: str, html: str) -> None:
    assert shown(stored) == html


@pytest.mark.parametrize("name", sorted(RAW))
def test_what_is_no_markup_for_the_renderer_is_none_for_those_before_it(name: str) -> None:
    """Else they write tags that the renderer shows as text."""
    stored = f'<{name}>a <code lang="c">x &lt; y</code></{name}> b'
    assert with_code_escaped(stored) == stored


@pytest.mark.parametrize(
    ("stored", "html"),
    [
        (
            "before<!--more-->after<!--nextpage-->page2",
            "<p>before</p>\n<p>after</p>\n<p>page2</p>\n",
        ),
        ("<p>a<!--more Read on - it's <free> -->b</p>", "<p>a</p>\n<p>b</p>"),
        ("<p>a<!--more Read on-->b</p>", "<p>a</p>\n<p>b</p>"),
        ("<b>a<!-- NextPage -->b</b>", "<p><b>a</b></p>\n<p>b</p>\n"),
        ("a<!--more--> b\n<!--nextpage-->\nc", "<p>a</p>\n<p>b</p>\n<p>c</p>\n"),
        ("a<!--moreover-->b<!-- x -->c<!--more-", "<p>abc&lt;!--more-</p>\n"),
        ("<pre>a<!--more-->b</pre>", "<pre>a&lt;!--more--&gt;b</pre>"),
        ("<!-- wp:paragraph --><p>a<!--more-->b</p><!-- /wp:paragraph -->", "<p>a\n\nb</p>"),
    ],
)
def test_what_divides_a_text_ends_a_paragraph(stored: str, html: str) -> None:
    assert shown(stored) == html


@pytest.mark.parametrize(
    "nested",
    [
        "<div>" * 2000 + "x" + "</div>" * 2000,
        "<blockquote>" * 300 + "x" + "</blockquote>" * 300,
        "<div>\n" * 300 + "<p> </p>" * 300 + "x",
        "<ul><li>" * 300 + "x",
        "<select>" + "<option>" * 300 + "x",
    ],
)
def test_elements_left_out_break_no_more_than_a_line(nested: str) -> None:
    html = shown(nested)
    assert html.count("<br>") <= 1
    assert "x" in html


def test_words_in_elements_left_out_stay_in_lines_of_their_own() -> None:
    html = shown("<div>" * 60 + "<p>a</p><p></p><p>b</p><div><img src=http://a.b/c><p>d" + "</div>" * 60)
    assert html.partition("<br>")[2].replace("\n", "").partition("</div>")[0].split("<br>") == [
        "a",
        "b",
        '<img src="http://a.b/c" alt="" loading="lazy" referrerpolicy="no-referrer">',
        "d",
    ]


def mark(number: int) -> str:
    return f'<a id="fn-p1-{number}"></a>'


@pytest.mark.parametrize(
    ("stored", "html"),
    [
        (
            '<a href="#fn1" id="r1">1</a> <a href="#here">h</a>'
            '<p id="fn1"><a href="#r1">^</a> note</p><a name="here">x',
            f'<p>{mark(3)}<a href="#fn-p1-1">1</a> <a href="#fn-p1-2">h</a></p>\n'
            f'<p>{mark(1)}<a href="#fn-p1-3">^</a> note</p><p>{mark(2)}x</p>\n',
        ),
        (
            '<p><a href="#no">a</a> <a href="#">b</a> <a href=#top>c</a></p>',
            '<p>a <a href="#">b</a> <a href="#top">c</a></p>',
        ),
        (
            '<p><a href="#caf%C3%A9">a</a></p><p id="café">b</p><p id="café">c</p>',
            f'<p><a href="#fn-p1-1">a</a></p><p>{mark(1)}b</p><p>c</p>',
        ),
        (
            '<p><a href="#t">a</a></p><table id=t><tr><td>b</table>',
            f'<p><a href="#fn-p1-1">a</a></p><table><tbody><tr><td>{mark(1)}b</td></tr></tbody></table>',
        ),
        (
            '<p><a href="#i">a</a><a href="/x"><b id=i>b</b></a> <i>c</i></p>',
            f'<p><a href="#fn-p1-1">a</a><a href="/x"><b>b</b></a> <i>{mark(1)}c</i></p>',
        ),
        ('<p><a href="#e">a</a></p><a name=e id=e></a>', f'<p><a href="#fn-p1-1">a</a></p><p>{mark(1)}</p>\n'),
        ('<p id=x><a name="y">a</a></p>', "<p>a</p>"),
    ],
)
def test_links_inside_a_text_lead_to_their_places(stored: str, html: str) -> None:
    shown = to_html(stored, "html", anchor="p1")
    assert shown.replace(REL, "").replace(FOCUS, "").replace("<p></p>\n", "") == html
    other = to_html(stored, "html", "comment", anchor="c2")
    assert not {*re.findall(' id="([^"]*)"', shown)} & {*re.findall(' id="([^"]*)"', other)}
