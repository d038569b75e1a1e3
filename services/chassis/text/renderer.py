"""Render Markdown or stored HTML to safe HTML, in a child process started by `renderer_pool`.

The HTML is not changed after the sanitiser; links are changed on the token stream before it.
"""

import re
import resource
import signal
import sys
from typing import BinaryIO

import nh3
from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock

from services.chassis.text.html_to_text import BLOCKS
from services.chassis.text.renderer_wire import DONE, FORMATS, HEADER, REFUSED

MAX_NESTING = 60
CPU_SECONDS = 1.0
MEMORY_BYTES = 1 << 30

# Other domains, such as main.py or notes.md, become links only with a scheme.
TOP_LEVEL_DOMAINS = ["biz", "com", "edu", "gov", "info", "net", "org"]

INLINES = frozenset(
    (
        *("a", "abbr", "b", "br", "cite", "code", "del", "em", "i", "img", "ins", "kbd", "mark", "q", "s", "samp"),
        *("small", "span", "strike", "strong", "sub", "sup", "tt", "u", "var"),
    )
)
GONE_WITH_CONTENT = frozenset(
    (
        *("script", "style", "svg", "math", "iframe", "frame", "frameset", "object", "embed", "applet", "template"),
        *("noscript", "noembed", "noframes", "form", "button", "select", "textarea", "input", "audio", "video"),
        *("canvas", "head", "title", "xmp", "plaintext"),
    )
)

CLEANER = nh3.Cleaner(
    tags={*BLOCKS, *INLINES, "caption", "col", "colgroup"},
    clean_content_tags=set(GONE_WITH_CONTENT),
    attributes={
        "a": {"href", "title"},
        "abbr": {"title"},
        "img": {"src", "alt", "title", "width", "height"},
        "ol": {"start"},
        "td": {"colspan", "rowspan"},
        "th": {"colspan", "rowspan"},
    },
    set_tag_attribute_values={"img": {"loading": "lazy", "referrerpolicy": "no-referrer"}},
    url_schemes={"http", "https", "mailto"},
    link_rel="nofollow ugc noopener",
)


class Refused(ValueError):
    """The text cannot be rendered as it is; the message says why."""


def _refuse_depth(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Refuse deep nesting, as the first block rule: beyond its limit the parser drops text silently."""
    if state.level >= MAX_NESTING - 3:
        raise Refused("is nested too deeply")
    return False


def _markdown() -> MarkdownIt:
    markdown = MarkdownIt("gfm-like", {"html": False, "linkify": True, "maxNesting": MAX_NESTING})
    markdown.block.ruler.before("table", "depth", _refuse_depth)
    assert markdown.linkify is not None
    markdown.linkify.tlds(TOP_LEVEL_DOMAINS)
    return markdown


MARKDOWN = _markdown()

BLOCK_TAG = re.compile(rf"</?(?:{'|'.join(sorted(BLOCKS))})(?=[\s/>])[^<>]*>", re.IGNORECASE)
PREFORMATTED = re.compile(r"(<pre(?=[\s>]))|(</pre\s*>)", re.IGNORECASE)
BLANK_LINE = re.compile(r"\n[ \t]*\n\s*")


def to_html(source: str, format: str) -> str:
    """Return safe HTML of a text in Markdown, or of HTML as blog software stores it.

    Raises:
        Refused: the text is nested too deeply.
    """
    return CLEANER.clean(MARKDOWN.render(source) if format == "markdown" else paragraphs(source))


def paragraphs(source: str) -> str:
    """Return HTML in which blank lines outside `<pre>` are paragraphs and single line breaks are `<br>`.

    Blog software stores posts without paragraphs and adds them when it shows them. HTML comments, which mark the blocks
    of its editor, are removed; a text with marked blocks has its paragraphs already.
    """
    marked = "<!-- wp:" in source
    source = without_comments(source.replace("\r\n", "\n").replace("\r", "\n"))
    if marked:
        return source
    parts: list[str] = []
    opened = position = 0
    for tag in PREFORMATTED.finditer(source):
        if tag[1] and not opened:
            parts.append(_paragraphs(source[position : tag.start()]))
            opened, position = 1, tag.start()
        elif tag[2] and opened:
            parts.append(source[position : tag.end()])
            opened, position = 0, tag.end()
    parts.append(source[position:] if opened else _paragraphs(source[position:]))
    return "\n".join(filter(None, parts))


def without_comments(source: str) -> str:
    """Return the source without `<!-- … -->`, in linear time even if no comment ends."""
    kept: list[str] = []
    position = 0
    while (start := source.find("<!--", position)) >= 0 and (end := source.find("-->", start + 4)) >= 0:
        kept.append(source[position:start])
        position = end + 3
    return "".join(kept) + source[position:]


def _paragraphs(source: str) -> str:
    """Wrap text between block tags, split at blank lines, in paragraphs."""
    parts: list[str] = []
    position, inside = 0, False
    for tag in BLOCK_TAG.finditer(source):
        parts += _wrapped(source[position : tag.start()], inside=inside)
        parts.append(tag[0])
        position = tag.end()
        inside = not tag[0].startswith(("</", "<hr"))
    return "".join(parts + _wrapped(source[position:], inside=False))


def _wrapped(text: str, *, inside: bool) -> list[str]:
    """Return the paragraphs of a text without block tags. A single one in a block, as in a list item, has no `<p>`."""
    pieces = [piece.replace("\n", "<br>\n") for piece in BLANK_LINE.split(text.strip()) if piece]
    if inside and len(pieces) == 1:
        return pieces
    return [f"<p>{piece}</p>\n" for piece in pieces]


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Render one request after another until the pipe is closed.

    Each has `CPU_SECONDS` of processor time, after which the kernel ends the process.
    """
    while len(header := requests.read(HEADER.size)) == HEADER.size:
        kind, length = HEADER.unpack(header)
        source = requests.read(length).decode()
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        try:
            status, text = DONE, to_html(source, FORMATS[kind])
        except Refused as error:
            status, text = REFUSED, str(error)
        signal.setitimer(signal.ITIMER_PROF, 0)
        data = text.encode()
        answers.write(HEADER.pack(status, len(data)) + data)
        answers.flush()


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent drains first; closing its pipe ends this process
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    to_html("*warm* https://example.org", "markdown")
    sys.stdout.buffer.write(HEADER.pack(DONE, 0))
    sys.stdout.buffer.flush()
    serve(sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
