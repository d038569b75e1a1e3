"""Compare the renderer with the examples of CommonMark 0.31 and of GitHub's Markdown 0.29.

    .venv/bin/python -m tests.markdown_suites commonmark=SPEC.TXT gfm=SPEC.TXT

Both specifications are one `spec.txt` each, in the repositories commonmark/commonmark-spec and github/cmark-gfm. Each
difference stands here with its reason; the command fails when there is another, or one fewer.
"""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

from services.chassis.text.renderer import to_html

EXAMPLE = re.compile(r"^`{32} example[^\n]*\n(.*?)^\.\n(.*?)^`{32}$", re.MULTILINE | re.DOTALL)
OURS = {"class", "loading", "referrerpolicy", "rel", "aria-label", "disabled", "align", "tabindex"}
LOWER = {"h1": "h2", "h2": "h3", "h3": "h4", "h4": "h5", "h5": "h6", "h6": "h6"}


class Reader(HTMLParser):
    """Reads HTML as a list of tags and texts, without what does not show."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.seen: list[object] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        kept = sorted((name, value or "") for name, value in attrs if name not in OURS)
        align = dict(attrs).get("align") or (dict(attrs).get("class") or "").partition("align-")[2]
        self.seen.append((tag, kept, align))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        self.seen.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        if self.seen and isinstance(self.seen[-1], list):
            data = self.seen.pop()[0] + data  # type: ignore[index]
        self.seen.append([data])


def shown(html: str, *, lower: bool = False) -> list[object]:
    seen: list[object] = []
    for one in Reader(html).seen:
        if isinstance(one, list):
            if one[0].strip():
                seen.append(one[0].strip("\n"))
        elif isinstance(one, tuple):
            seen.append((LOWER.get(one[0], one[0]) if lower else one[0], *one[1:]))
        else:
            assert isinstance(one, str)
            seen.append("/" + LOWER.get(one[1:], one[1:]) if lower else one)
    return seen


def differing(specification: str) -> tuple[int, set[int]]:
    """Return how many examples there are, and the numbers of those that are rendered in another way."""
    examples = EXAMPLE.findall(specification.replace("→", "\t"))
    return len(examples), {
        number
        for number, (markdown, html) in enumerate(examples, 1)
        if shown(to_html(markdown, "markdown")) != shown(html, lower=True)
    }


RAW = "raw HTML is shown as it was typed"
EMPTY = "a link that leads nowhere is left out; its text stays"
SCHEME = "an address of an unknown scheme is no link and stays as it was typed"
BARE = "a bare address is a link, as GitHub's autolinks make it; these examples have the extension off"
COLON = "what stands before a colon must be an allowed scheme, so that no browser can find another one"

COMMONMARK = {
    RAW: [
        *(21, 31, *range(148, 192), 201, 308, 309, 344, 475, 476, 477, 491, 494, 524, 536),
        *(613, 614, 615, 616, 617, 623, 625, 626, 627, 628, 629, 630, 631, 642, 643),
    ],
    EMPTY: [200, 485, 486, 487, 567],
    COLON: [500],
    SCHEME: [596, 598, 599, 601],
    BARE: [602, 608, 611, 612],
}
GFM = {
    RAW: [
        *(*range(118, 161), 170, 288, 289, 317, 327, 354, 484, 485, 486, 500, 503, 532, 544),
        *(632, 633, 634, 635, 636, 642, 644, 647, 648, 649, 650, 651, 653, 663, 664),
    ],
    EMPTY: [169, 495, 496, 575],
    COLON: [508],
    SCHEME: [604, 606, 607, 609],
    BARE: [610, 616, 619, 620],
}


LISTED = {"commonmark": COMMONMARK, "gfm": GFM}


def main() -> int:
    """Print how each suite differs, by reason; return 1 if a difference is not listed, or listed and none."""
    status = 0
    for argument in sys.argv[1:]:
        suite, _, path = argument.partition("=")
        count, found = differing(Path(path).read_text())
        listed = {number for numbers in LISTED[suite].values() for number in numbers}
        print(f"{suite}: {count} examples, {len(found)} rendered in another way")
        for reason, numbers in LISTED[suite].items():
            print(f"  {len(found & set(numbers)):>3}  {reason}")
        for wrong, what in (
            (found - listed, "differ without a reason"),
            (listed - found, "are listed and do not differ"),
        ):
            if wrong or not count:
                print(f"  {sorted(wrong)} {what}")
                status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
