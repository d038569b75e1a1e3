"""The sanitiser: what may stand in stored HTML. It comes last; nothing changes HTML after it."""

import re

import nh3

from services.chassis.text.links import SCHEMES, safe_url
from services.chassis.text.words import BLOCKS

INLINES = frozenset(
    (
        *("a", "abbr", "b", "br", "cite", "code", "del", "em", "i", "img", "ins", "kbd", "mark", "q", "s", "samp"),
        *("small", "span", "strike", "strong", "sub", "sup", "tt", "u", "var"),
    )
)
ALLOWED = BLOCKS | INLINES | {"caption", "input", "section"}
GONE_WITH_CONTENT = frozenset(
    (
        *("script", "style", "svg", "math", "iframe", "frame", "frameset", "object", "embed", "applet", "template"),
        *("noscript", "noembed", "noframes", "form", "button", "select", "textarea", "audio", "video"),
        *("canvas", "head", "title", "xmp", "plaintext"),
    )
)
ATTRIBUTES = {
    "a": {"aria-label", "href", "id", "title"},
    "abbr": {"title"},
    "img": {"alt", "height", "loading", "referrerpolicy", "src", "title", "width"},
    "input": {"aria-label", "checked", "disabled", "type"},
    "li": {"id"},
    "ol": {"start"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan"},
}
SCROLLS = {"tabindex": "0"}  # what scrolls must be reached by the keyboard
ALIGNMENTS = {"align-left", "align-center", "align-right"}
FOOTNOTE_ID = re.compile(r"fn(?:ref)?-[0-9A-Za-z-]+")


def _attribute(tag: str, name: str, value: str) -> str | None:
    """Return an attribute's value, or None: addresses are judged once more, and ids are those of footnotes alone."""
    if name in ("href", "src"):
        return safe_url(value)
    if name == "id":
        return value if FOOTNOTE_ID.fullmatch(value) else None
    return value


CLEANER = nh3.Cleaner(
    tags=set(ALLOWED),
    clean_content_tags=set(GONE_WITH_CONTENT),
    attributes=ATTRIBUTES,
    attribute_filter=_attribute,
    allowed_classes={
        "a": {"footnote-backref", "picture"},
        "li": {"task-list-item"},
        "ol": {"contains-task-list"},
        "section": {"footnotes"},
        "sup": {"footnote-ref"},
        "td": ALIGNMENTS,
        "th": ALIGNMENTS,
        "ul": {"contains-task-list"},
    },
    set_tag_attribute_values={
        "img": {"loading": "lazy", "referrerpolicy": "no-referrer"},
        "input": {"disabled": "", "type": "checkbox"},
        "pre": SCROLLS,
        "table": SCROLLS,
    },
    url_schemes=set(SCHEMES),
    link_rel="nofollow ugc noopener",
)


def sanitised(html: str) -> str:
    """Return HTML that is safe to insert into a page."""
    return CLEANER.clean(html)
