"""Sanitised HTML as a mail may show it: nothing in it can be followed or fetched, and few mail clients need our styles.

What a page shows by other means is said in words: pictures, the boxes of tasks, alignment, direction.
"""

import re
from html import escape

import nh3

from services.chassis.text.links import AN_IMAGE, said_of_picture
from services.chassis.text.tokens import TAG, Tag, tokens

PARAGRAPHS = ("dd", "dt", "h2", "h3", "h4", "h5", "h6", "li", "p", "td", "th")
CONTAINERS = frozenset(("blockquote", "ol", "table", "ul"))
TAGS = {
    *PARAGRAPHS,
    *CONTAINERS,
    *("b", "br", "code", "del", "dl", "em", "h1", "hr", "i", "pre", "s", "strong", "sub", "sup"),
    *("tbody", "thead", "tr"),
}
TABLE = (
    "display: block; width: fit-content; max-width: 100%; overflow-x: auto; overflow-wrap: break-word; "
    "word-break: normal; border: 0; border-collapse: collapse; margin: 0 0 16px;"
)
CELL = {"align", "colspan", "rowspan"}
STYLES = {
    "blockquote": {"style": "margin: 0 0 16px; padding: 0 0 0 12px; border-left: 2px solid #a3a3aa;"},
    "pre": {"dir": "ltr", "style": "white-space: pre-wrap; margin: 0 0 16px; font: 14px/1.5 monospace;"},
    "table": {"border": "1", "cellpadding": "6", "bordercolor": "#a3a3aa", "style": TABLE},
}
CLEANER = nh3.Cleaner(
    tags=TAGS,
    attributes={"ol": {"dir", "start"}, "ul": {"dir"}, "blockquote": {"dir"}, "table": {"dir"}, "td": CELL, "th": CELL},
    tag_attribute_values={},
    set_tag_attribute_values={**{name: {"dir": "auto"} for name in PARAGRAPHS}, **STYLES},
    link_rel=None,
)
SAID = re.compile(r'<img |<input |class="(?:picture|align-|footnote-backref)')
ALIGN = re.compile(r' class="align-(left|center|right)"')
WAY_BACK = re.compile(r' ?<a [^>]*class="footnote-backref"[^>]*>[^<]*(?:<sup[^>]*>[^<]*</sup>)?</a>')
RIGHT_TO_LEFT = "\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff"
HAS_RIGHT_TO_LEFT = re.compile(f"[{RIGHT_TO_LEFT}]")
LETTER = re.compile(rf"(?P<rtl>[{RIGHT_TO_LEFT}])|[^\W\d_]")


def inert(html: str) -> str:
    """Return sanitised HTML without links, pictures and forms; each paragraph has its own direction."""
    if SAID.search(html):
        html = TAG.sub(_said, WAY_BACK.sub("", html))
    if HAS_RIGHT_TO_LEFT.search(html):
        html = _directed(html)
    return CLEANER.clean(html)


def _said(match: re.Match[str]) -> str:
    """Return a tag as words, if it shows something that a mail cannot."""
    name, source = match[2], match[3]
    if name == "input":
        return "☑" if " checked" in source else "☐"
    if name in ("td", "th"):
        return ALIGN.sub(r' align="\1"', match[0])
    if name == "a" and 'class="picture"' in source:
        return match[0] + AN_IMAGE
    if name != "img":
        return match[0]
    return escape(said_of_picture(Tag(name, False, source, 0).attributes()))


def _directed(html: str) -> str:
    """Return the HTML with the direction of each list, quotation and table that begins with a right-to-left letter."""
    out: list[str] = []
    undecided: list[int] = []  # where the tags of those stand that have had no letter yet
    for token in tokens(html):
        if isinstance(token, str):
            if undecided and (letter := LETTER.search(token)):
                if letter["rtl"]:
                    for at in undecided:
                        out[at] = out[at][:-1] + ' dir="rtl">'
                undecided.clear()
            out.append(token)
            continue
        if token.name in CONTAINERS:
            if not token.closes:
                undecided.append(len(out))
            elif undecided:
                undecided.pop()
        out.append(f"<{'/' * token.closes}{token.name}{token.source}>")
    return "".join(out)
