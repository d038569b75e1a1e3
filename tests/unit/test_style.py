"""The style sheet: every custom property is documented and used, and every pair that carries text can be read."""

import re
from importlib.resources import files
from pathlib import Path

import pytest

from services.contracts.colours import HUE, linear
from services.contracts.faces import TONES

SHEET = (files("services.gateway") / "static" / "rapport.css").read_text()
THEMES = sorted((Path(__file__).parent.parent.parent / "docs" / "themes").glob("*.css"))
PROPERTY = re.compile(r"^  (--[a-z]+): ([^;]+);(?: /\* .+ \*/)?$", re.MULTILINE)
COLOUR = re.compile(r"oklch\(([0-9.]+)% ([0-9.]+) ([0-9.]+|var\(--hue\))\)")
ROOT = SHEET[: SHEET.index("\n}\n")]
PAIRS = (
    [("text", "paper", 7.0), ("text", "sheet", 7.0), ("text", "tint", 7.0)]
    + [(one, ground, 4.5) for one in ("quiet", "accent", "warn") for ground in ("paper", "sheet")]
    + [
        ("text", "added", 4.5),
        ("text", "removed", 4.5),
        ("accent", "tint", 4.5),
        ("quiet", "tint", 4.5),
        ("edge", "sheet", 3.0),
        ("edge", "paper", 3.0),
    ]
)


def properties(text: str) -> dict[str, str]:
    return {name.removeprefix("--"): value for name, value in PROPERTY.findall(text)}


def colours(text: str, scheme: int, hue: float) -> dict[str, float]:
    """Return the luminance (WCAG 2.2) of each property that is a colour in both schemes: 0 is light, 1 is dark."""
    found = {}
    for name, value in properties(text).items():
        both = COLOUR.findall(value)
        if len(both) == 2:
            lightness, chroma, angle = both[scheme]
            angle = hue if angle.startswith("var") else float(angle)
            red, green, blue = (min(max(one, 0.0), 1.0) for one in linear(float(lightness) / 100, float(chroma), angle))
            found[name] = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return found


def contrast(one: float, other: float) -> float:
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def test_every_property_has_a_line_that_says_what_it_is_for() -> None:
    declared = [line for line in ROOT.splitlines() if line.strip().startswith(("--", "color-scheme"))]
    assert len(declared) >= 20
    assert [line for line in declared if not re.search(r"/\* .+ \*/$", line)] == []


def test_mails_and_marks_have_the_hue_and_the_tones_of_the_sheet() -> None:
    assert properties(ROOT)["hue"] == str(HUE)
    assert re.findall(r"\.tone-([0-9]+) ", SHEET) == [str(number) for number in range(TONES)]


def test_every_property_is_used_and_every_one_that_is_used_exists() -> None:
    used = set(re.findall(r"var\(--([a-z]+)", SHEET))
    assert used - {"tone"} == set(properties(ROOT))  # a face sets its own tone


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_whatever_hue_a_site_chooses_its_texts_can_be_read(scheme: str) -> None:
    low = {}
    for hue in range(0, 360, 5):
        found = colours(ROOT, ["light", "dark"].index(scheme), hue)
        for one, ground, least in PAIRS:
            ratio = contrast(found[one], found[ground])
            if ratio < least:
                low[one, ground, hue] = round(ratio, 2)
    assert low == {}


@pytest.mark.parametrize("path", THEMES, ids=lambda path: path.stem)
def test_themes_set_what_there_is_and_can_be_read(path: Path) -> None:
    theme = path.read_text()
    assert set(properties(theme)) <= set(properties(ROOT))
    assert properties(theme) != {}
    for scheme in (0, 1):
        found = colours(ROOT, scheme, 155) | colours(theme, scheme, float(properties(theme).get("hue", 250)))
        low = {(one, ground) for one, ground, least in PAIRS if contrast(found[one], found[ground]) < least}
        assert low == set()


def test_nothing_depends_on_the_direction_of_the_script() -> None:
    """Logical properties alone, but for what is always left or right: cells that an author aligned so."""
    rules = re.sub(r"/\*.*?\*/", "", SHEET, flags=re.DOTALL)
    physical = re.findall(
        r"(?:margin|padding|border)-(?:left|right)|(?<![a-z-])(?:left|right)\s*:|float:|letter-spacing|text-transform",
        rules,
    )
    assert physical == []
