"""The example suites of CommonMark and of GitHub's Markdown; each difference stands here with its reason."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from services.chassis.text.renderer import to_html

SUITES = Path(__file__).with_name("markdown")
OURS = {"class", "loading", "referrerpolicy", "rel", "aria-label", "disabled", "align"}
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


def differing(suite: str) -> set[int]:
    examples = json.loads((SUITES / f"{suite}.json").read_text())
    return {
        example["number"]
        for example in examples
        if shown(to_html(example["markdown"], "markdown")) != shown(example["html"], lower=True)
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


@pytest.mark.parametrize(("suite", "differences"), [("commonmark-0.31", COMMONMARK), ("gfm-0.29", GFM)])
def test_examples_differ_only_for_a_reason(suite: str, differences: dict[str, list[int]]) -> None:
    assert differing(suite) == {number for numbers in differences.values() for number in numbers}
