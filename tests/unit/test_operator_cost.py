"""What a text costs an import grows with its length, whatever an export holds."""

import time
from collections import Counter

import pytest

from services.operator.wordpress.code import with_code_escaped
from services.operator.wordpress.links import Places, with_new_links
from services.operator.wordpress.players import OWN, Replacements
from services.operator.wordpress.shortcodes import names_in, without_shortcodes

FLOOR = 0.05  # seconds that a measurement may be off
EXPONENT = 1.3
LENGTH = 60_000
PIECES = (
    *(
        "[",
        "]",
        "[[",
        "[a",
        "[a ",
        "[a]",
        "[/a]",
        "[a][/a]",
        "[a b=c]",
        "[a b='",
        '[a b="[b ',
        "[a b=c ",
        "[a/]",
        "[a =“",
    ),
    *(
        "[gallery]",
        "[caption]",
        "[caption][/caption]",
        "[audio http://a.b/",
        "[embed]",
        "[code]",
        "[code][/code",
        "[php]",
    ),
    *(
        "[code ",
        "[[code]]",
        "[/code]",
        "<pre>",
        "<pre>[a]",
        "</pre>[a]",
        "<code>[[a]]",
        "<pre lang=x>",
        "<!--",
        "<!-- -->",
    ),
    *(
        "<a href=x>",
        "<a href='../x'>y</a>",
        "<a href=",
        "<a ",
        '<a ="<b" ',
        "http://a.b/ ",
        "www.a.b",
        "http://",
        "  ",
        "\t",
    ),
    *(
        "../",
        "<a href='" + "../" * 20 + "'>",
        "&quot;",
        "[a b=&quot;",
        "<script>",
        "<textarea>",
        "<",
        "é[",
        "[a_b]\n",
        "x ",
    ),
)
FAMILIES = {piece: piece * (LENGTH // len(piece)) for piece in PIECES} | {
    "spaces in brackets": "[a" + " " * LENGTH,
    "spaces before brackets": (" " * 1000 + "[a]") * (LENGTH // 1003),
    "many names": "".join(f"[a{number}]" for number in range(LENGTH // 8)),
    "crossed": "[a][b]" * (LENGTH // 24) + "[/a][/b]" * (LENGTH // 24),
    "deep": "[a]" * (LENGTH // 8) + "[/a]" * (LENGTH // 8),
    "deep with words": "[a]x" * (LENGTH // 9) + "[/a]" * (LENGTH // 9),
    "a caption's picture": "[caption]" + "<img " * (LENGTH // 5) + "[/caption]",
    "a long attribute": "[gallery ids='" + "1," * (LENGTH // 2) + "']",
}


def converted(html: str) -> str:
    html = with_code_escaped(html)
    html = without_shortcodes(html, Replacements({}, {}, "1"), OWN | names_in(html), Counter())
    return with_new_links(html, "http://blog.example/2009/02/07/3/", Places())


def cost(html: str) -> float:
    """Return the processor time of converting a text, the lesser of two."""
    times = []
    for _ in range(2):
        started = time.process_time()
        converted(html)
        times.append(time.process_time() - started)
    return min(times)


@pytest.mark.parametrize("family", FAMILIES)
def test_converting_takes_linear_time(family: str) -> None:
    html = FAMILIES[family]
    whole = cost(html)
    if whole > FLOOR:
        assert whole <= 2**EXPONENT * cost(html[: len(html) // 2]) + FLOOR
