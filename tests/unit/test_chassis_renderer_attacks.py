"""What attackers write does not run, is not fetched, and does not leave its text: checked by reading the result."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.chassis.text.html_to_text import excerpt, plain
from services.chassis.text.markdown import parse
from services.chassis.text.quotations import close_quotations
from services.chassis.text.refused import Refused
from services.chassis.text.renderer import Format, Kind, to_html
from services.chassis.text.sanitiser import ALIGNMENTS, ALLOWED

ATTRIBUTES = {
    *("href", "title", "src", "alt", "width", "height", "start", "colspan", "rowspan", "rel", "class", "id"),
    *("loading", "referrerpolicy", "type", "disabled", "checked", "aria-label"),
    "tabindex",
}
CLASSES = {
    *("contains-task-list", "footnote-backref", "footnote-ref", "footnotes", "picture", "task-list-item"),
    *ALIGNMENTS,
}

HTML_ATTACKS = [
    "<script>alert(1)</script>",
    "<script src=//e.example></script>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<script\x20type='text/javascript'>javascript:alert(1);</script>",
    "<script/x>alert(1)</script/x>",
    "<SCRIPT>alert(1)</SCRIPT>",
    "<script>alert(1)",
    "<script x>alert(1)<!--</script>-->",
    "<img src=x onerror=alert(1)>",
    "<img src=x:alert(alt) onerror=eval(src) alt=0>",
    "<img/src=x/onerror=alert(1)>",
    "<img src='x'onerror=alert(1)>",
    "<img src=\"x\"onerror=\"alert(1)\"",
    "<img src=`x` onerror=alert(1)>",
    "<img \x00src=x onerror=alert(1)>",
    "<img src=x o\x00nerror=alert(1)>",
    "<IMG \"\"\"><SCRIPT>alert(1)</SCRIPT>\"\\>",
    "<img src onerror /\" '\"= alt=alert(1)//\">",
    "<img src=javascript:alert(1)>",
    "<img dynsrc=javascript:alert(1)><img lowsrc=javascript:alert(1)>",
    "<img srcset='x 1x, javascript:alert(1) 2x'>",
    "<img src=data:image/svg+xml;base64,PHN2Zy8+>",
    "<svg onload=alert(1)>",
    "<svg/onload=alert(1)//",
    "<svg><script>alert(1)</script></svg>",
    "<svg><script xlink:href=data:,alert(1) />",
    "<svg><a xlink:href=javascript:alert(1)><text>x</text></a></svg>",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
    "<svg><set attributeName=href to=javascript:alert(1)>",
    "<svg><foreignObject><script>alert(1)</script></foreignObject></svg>",
    "<svg><use href=data:image/svg+xml,x#x>",
    "<svg></p><style><a id=\"</style><img src=1 onerror=alert(1)>\">",
    "<svg><style><img src=x onerror=alert(1)></style></svg>",
    "<svg><desc><![CDATA[</desc><script>alert(1)</script>]]></svg>",
    "<svg><title><img src=x onerror=alert(1)></title></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<math><mtext><table><mglyph><style><!--</style><img title=\"--&gt;&lt;img src=1 onerror=alert(1)&gt;\">",
    "<math><mi//xlink:href=\"data:x,<script>alert(1)</script>\">",
    "<math href=javascript:alert(1)>x</math>",
    "<math><annotation-xml encoding=text/html><script>alert(1)</script></annotation-xml></math>",
    "<form><math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "<math><mtext></p><p><style><!--</style><img src=x onerror=alert(1)>-->",
    "<iframe src=javascript:alert(1)></iframe>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<iframe/onload=alert(1)>",
    "<iframe><img src=x onerror=alert(1)></iframe>",
    "<object data=javascript:alert(1)></object>",
    "<object data='data:text/html,<script>alert(1)</script>'>",
    "<embed src=javascript:alert(1)>",
    "<embed src='//e.example/x.swf' allowscriptaccess=always>",
    "<applet code=x></applet><bgsound src=javascript:alert(1)>",
    "<a href='javascript:alert(1)'>x</a>",
    "<a href='JaVaScRiPt:alert(1)'>x</a>",
    "<a href='java\tscript:alert(1)'>x</a>",
    "<a href='java\nscript:alert(1)'>x</a>",
    "<a href='jav&#x09;ascript:alert(1)'>x</a>",
    "<a href='jav&#x0A;ascript:alert(1)'>x</a>",
    "<a href='jav&NewLine;ascript:alert(1)'>x</a>",
    "<a href='jav&Tab;ascript&colon;alert(1)'>x</a>",
    "<a href=' &#106;avascript:alert(1)'>x</a>",
    "<a href='&#14; javascript:alert(1)'>x</a>",
    "<a href='&#1;javascript:alert(1)'>x</a>",
    "<a href='&#x1f;javascript:alert(1)'>x</a>",
    "<a href='&#160;javascript:alert(1)'>x</a>",
    "<a href='&nbsp;javascript:alert(1)'>x</a>",
    "<a href='&#8232;javascript:alert(1)'>x</a>",
    "<a href='&#x200b;javascript:alert(1)'>x</a>",
    "<a href='&#xfeff;javascript:alert(1)'>x</a>",
    "<a href='&#x3000;javascript:alert(1)'>x</a>",
    "<a href='&#x180e;javascript:alert(1)'>x</a>",
    "<a href='\x0bjavascript:alert(1)'>x</a>",
    "<a href='\x85javascript:alert(1)'>x</a>",
    "<a href='javascript&#58;alert(1)'>x</a>",
    "<a href='javascript&#x3A;alert(1)'>x</a>",
    "<a href='&#0000106&#0000097&#0000118&#0000097&#0000115&#0000099&#0000114&#0000105&#0000112&#0000116:x'>x</a>",
    "<a href='javascript\x00:alert(1)'>x</a>",
    "<a href='javascript:/*--></title></style></textarea></script><svg/onload=alert(1)>'>x</a>",
    "<a href=javas&#99;ript:alert(1)>x</a>",
    "<a href='vbscript:x'>x</a><a href='data:text/html,<script>alert(1)</script>'>x</a>",
    "<a href='data:text/html;base64,PHNjcmlwdD4='>x</a>",
    "<a href='feed:javascript:alert(1)'>x</a><a href='view-source:javascript:x'>x</a>",
    "<a href='blob:x'>x</a><a href='filesystem:x'>x</a><a href='file:///etc/passwd'>x</a>",
    "<a href=x onclick=alert(1) onmouseover=alert(1)>x</a>",
    "<a href='#' style='position:fixed;inset:0'>x</a>",
    "<a target=_blank ping=//e.example download rel=opener href=/x>x</a>",
    "<a href=\"x\" title=\"'\"><img src=x onerror=alert(1)>\">",
    "<p style='position:fixed'>x</p>",
    "<p style=background:url(javascript:alert(1))>x",
    "<div style='width:expression(alert(1))'>x</div>",
    "<div onclick=alert(1) onfocus=alert(1) tabindex=1 autofocus contenteditable>x</div>",
    "<div id=location class=x name=y data-x=1>x</div>",
    "<form id=x><input name=attributes><input id=y name=parentNode></form>",
    "<form action=/me><input name=x></form>",
    "<form action=javascript:alert(1)><input type=submit></form>",
    "<button formaction=javascript:alert(1)>x</button>",
    "<input onfocus=alert(1) autofocus><input type=image src=javascript:alert(1)>",
    "<input type=checkbox checked aria-label=x>",
    "<select onfocus=alert(1)><option>x</select><keygen autofocus onfocus=alert(1)>",
    "<textarea onfocus=alert(1) autofocus></textarea>",
    "<isindex type=image src=1 onerror=alert(1)>",
    "<video><source onerror=alert(1)></video><audio src=x onerror=alert(1)>",
    "<video poster=javascript:alert(1)//></video><video onloadstart=alert(1) src=x>",
    "<details open ontoggle=alert(1)>x</details>",
    "<marquee onstart=alert(1)>x</marquee>",
    "<body onload=alert(1)><html onclick=alert(1)>",
    "<body background=javascript:alert(1)><table background=javascript:alert(1)>",
    "<frameset onload=alert(1)><frame src=javascript:alert(1)>",
    "<layer src=javascript:x></layer><xml src=x id=y></xml><ilayer src=x>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<noembed><p title='</noembed><img src=x onerror=alert(1)>'>",
    "<xmp><p title='</xmp><img src=x onerror=alert(1)>'>",
    "<title><p title='</title><img src=x onerror=alert(1)>'>",
    "<textarea><p title='</textarea><img src=x onerror=alert(1)>'>",
    "<style><p title='</style><img src=x onerror=alert(1)>'>",
    "<plaintext><img src=x onerror=alert(1)>",
    "<!--><img src=x onerror=alert(1)>-->",
    "<!--><script>alert(1)</script>",
    "<!-- --!><img src=x onerror=alert(1)> -->",
    "<!--<img src=\"--><img src=x onerror=alert(1)//\">",
    "<![><img src=\"]><img src=x onerror=alert(1)//\">",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?xml version='1.0'?><script>alert(1)</script>",
    "<? foo='><script>alert(1)</script>'>",
    "<! foo='><script>alert(1)</script>'>",
    "</ foo='><script>alert(1)</script>'>",
    "<% foo><x foo='%><script>alert(1)</script>'>",
    "<style>@import url(x)</style><link rel=stylesheet href=x><base href=//evil><meta http-equiv=refresh>",
    "<link rel=import href=//e.example><link rel=prefetch href=//e.example>",
    "<meta http-equiv=refresh content='0;url=javascript:alert(1)'>",
    "<template><img src=x onerror=alert(1)></template>",
    "<template><s><template><s><img src=x onerror=alert(1)>@shafigullin</s></template></s></template>",
    "<x onclick=alert(1)>x</x><custom-element onmouseenter=alert(1)>x",
    "<p><p title='<p title=\"</p><img src=x onerror=alert(1)>\">'>",
    "<b <script>alert(1)</script>0",
    "<b/alt='1'onmouseover=InputBox+1 language=vbs>x</b>",
    "<br size=\"&{alert(1)}\">",
    "<a \x0bhref=javascript:alert(1)>x</a>",
    "<table><caption><svg><title><style></caption><img src=x onerror=alert(1)>",
    "<option><style></option></select><b><img src=x onerror=alert(1)></style></option>",
    "<q oncut=alert(1)><kbd onwheel=alert(1)>x",
    "<dialog open onclose=alert(1)>x</dialog><slot onslotchange=alert(1)>",
    "<portal src=javascript:alert(1)></portal><fencedframe src=//e.example>",
    "\"><script>alert(1)</script>",
    "'\"--></style></script><script>alert(1)</script>",
    "<a aria-label='x' id='c-1' class='footnotes' href='/x'>x</a><sup id=fn-x class=evil>x</sup>",
]  # fmt: skip
MARKDOWN_ATTACKS = [
    "[x](javascript:alert(1)) [x](data:text/html;base64,PHN) ![x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1)) [x]( javascript:alert(1) ) [x](<javascript:alert(1)>)",
    "[x](javascript&colon;alert(1)) [x](&#106;avascript:alert(1)) [x](&#x6A;avascript:alert(1))",
    "[x](&#160;javascript:alert(1)) [x](&Tab;javascript:x) [x](&#1;javascript:x) [x](&#x200b;javascript:x)",
    "[x](java&NewLine;script:alert(1)) [x](java&#9;script:x) [x](\x01javascript:x) [x](\u00a0javascript:x)",
    "[x](javascript\\:alert(1)) [x](java\\script:x) [x](vbscript:x) [x](file:///x) [x](blob:x)",
    '[x](https://a.b/"onmouseover="alert(1))',
    '[x](https://a.b "\\"onmouseover=alert(1)") ![x](https://a.b "\\"onerror=alert(1)")',
    '![x"onerror="alert(1)](https://a.b/c) ![<img src=x onerror=alert(1)>](https://a.b)',
    "![x](data:image/svg+xml;base64,PHN2Zz4=) ![x](data:image/png;base64,x)",
    "[x]: javascript:alert(1)\n\n[x]",
    "[x]: <&#160;javascript:alert(1)> '\"onclick=alert(1)'\n\n[x] ![x]",
    "<javascript:alert(1)> https://a.b/'onclick='alert(1) <data:text/html,x> <vbscript:x>",
    'https://a.b/<script>alert(1)</script> www.a.b/"onclick=alert(1) a@b.c"onclick=x',
    'https://a.b/?q=`<img/src=x>` <https://a.b/"onclick="alert(1)>',
    "[a](/x)[b](//e.example) [c](\\\\e.example) [d](/\\e.example)",
    "```<script>\n</code></pre><script>alert(1)</script>\n```\n\n    </code><img src=x onerror=alert(1)>",
    '```js" onclick="alert(1)\nx\n```',
    "`<script>alert(1)</script>` ``` <img src=x onerror=alert(1)> ```",
    "| <script> | a |\n|:-:|---|\n| <img src=x onerror=alert(1)> | [x](javascript:y) |",
    'x[^1] y[^"><script>] z[^<img]\n\n[^1]: [x](javascript:y)\n[^"><script>]: a\n[^<img]: <svg onload=x>',
    "[^__proto__] [^c-1]\n\n[^__proto__]: a\n[^c-1]: b",
    "- [x] <input onfocus=x autofocus>\n- [ ] [x](javascript:y)",
    "# <script>alert(1)</script>\n\n<svg/onload=alert(1)>\n===\n",
    "<details open ontoggle=alert(1)>\n\n*x*\n\n</details>",
    "[<img src=x onerror=alert(1)>](https://a.b) [![x](javascript:y)](javascript:z)",
    "&lt;script&gt;alert(1)&lt;/script&gt; &#60;img src=x onerror=alert(1)&#62;",
    "<!-- --><script>alert(1)</script>\n\n<?php ?><script>\n\n<![CDATA[<script>]]>",
    "\\<script>alert(1)\\</script> <\u0131mg src=x onerror=x> \uff1cscript\uff1e",
]
ATTACKS = HTML_ATTACKS + MARKDOWN_ATTACKS


class Inspector(HTMLParser):
    """Fails at every tag, attribute, value and scheme that is not allowed, and at what is left open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ALLOWED
        assert {name for name, _ in attrs} <= ATTRIBUTES
        values = {name: value or "" for name, value in attrs}
        for name in ("href", "src"):
            # a browser passes over outer control characters and spaces, and over tabs and line ends anywhere
            value = re.sub(r"[\t\n\r]", "", values.get(name, "")).strip("".join(map(chr, range(33))))
            scheme = re.match(r"[^/?#]*?:", value)
            assert scheme is None or scheme[0].lower() in ("http:", "https:", "mailto:", "ftp:")
        assert set(values.get("class", "").split()) <= CLASSES
        assert re.fullmatch("(fn(ref)?-here-[0-9]+)?", values.get("id", ""))
        if tag == "a":
            assert values["rel"] == "nofollow ugc noopener"
        assert values.get("tabindex") == ("0" if tag in ("pre", "table") else None)
        if tag == "input":
            assert values["type"] == "checkbox" and "disabled" in values and values["aria-label"]
        if tag not in ("br", "hr", "img", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")


def inspect(html: str) -> None:
    inspector = Inspector()
    inspector.feed(html)
    inspector.close()
    assert not inspector.open


def test_attacks_are_many() -> None:
    assert len(set(ATTACKS)) >= 150


@pytest.mark.parametrize("kind", ["comment", "post"])
@pytest.mark.parametrize("format", ["markdown", "html"])
@pytest.mark.parametrize("attack", ATTACKS, ids=range(len(ATTACKS)))
def test_attacks_are_removed(attack: str, format: Format, kind: Kind) -> None:
    inspect(to_html(attack, format, kind, anchor="here"))
    inspect(to_html(f"> - *{attack}*\n\n{attack}\n", format, kind, anchor="here"))


SPACES = ["&#160;", "&nbsp;", *(f"&#{number};" for number in (*range(1, 33), 127, 133, 173, 5760, 8192, 8203, 65279))]


@pytest.mark.parametrize("space", SPACES)
def test_no_character_before_a_scheme_makes_it_an_address(space: str) -> None:
    for html in (
        to_html(f'<a href="{space}javascript:x">x</a>', "html"),
        to_html(f"[x]({space}javascript:x)", "markdown"),
        to_html(f"[x](<{space}javascript:x>)", "markdown"),
    ):
        assert not re.search("<a[^>]*href=[^>]*javascript", html)


PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            [
                *ATTACKS,
                *("\n\n", "\n", "<", ">", "</p>", "<!--", "-->", "<pre>", "</pre>", "`", "*", "[", "](", ")", "> "),
                *("<table>", "<td>", "<li>", "<a href=/x>", "</a>", "<b>", "</b>", "<div>", "</div>", "&", '"', "="),
                *("https://a.b/", "。", "（", "）", "[^1]", "\n[^1]: ", "|", "\n|-|\n", "    ", "\t", "~~", "- "),
            ]
        ),
        st.text(max_size=8),
    ),
    max_size=12,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(pieces=PIECES, format=st.sampled_from(["markdown", "html"]), kind=st.sampled_from(["comment", "post"]))
def test_mixtures_of_attacks_are_removed(pieces: list[str], format: Format, kind: Kind) -> None:
    try:
        html = to_html("".join(pieces).replace("\0", ""), format, kind, anchor="here")
    except Refused:
        return
    inspect(html)
    plain(html)
    assert len(excerpt(html, 20)) <= 20


LINES = st.lists(
    st.tuples(
        st.sampled_from(["", "> ", ">", "> > ", ">> ", "- ", "  ", "    ", "1. ", "> - ", "- > ", "  > ", "\t"]),
        st.sampled_from(["a", "b c", "", "`x", "*y", "```", "[z](", "|a|", "|-|", "# h", "ä。", "---"]),
    ).map("".join),
    max_size=9,
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(lines=LINES)
def test_quotations_lose_no_word(lines: list[str]) -> None:
    source = "\n".join(lines)
    html = to_html(source, "markdown", "comment", anchor="here")
    inspect(html)
    parsed, closed = parse(source, is_comment=True)
    assert close_quotations(closed, parsed) == closed, "no quotation goes on without its marks"
    for letter in "aby":
        assert plain(html).count(letter) >= plain(to_html(source, "markdown", "post")).count(letter)
