"""Colours of OKLCH, in which the site's are given, for what reads only sRGB: pictures and mails."""

import math
from typing import Annotated

from pydantic import BeforeValidator, Field

HUE = 250  # of the accent, in degrees, where a site sets none; rapport.css has it too


def _or_none(value: object) -> object:
    """Take an empty setting as none."""
    return None if value == "" else value


Hue = Annotated[Annotated[int, Field(ge=0, le=360)] | None, BeforeValidator(_or_none)]  # the type of the setting


def srgb(lightness: float, chroma: float, hue: float) -> str:
    """Return a colour of OKLCH as programs without it read colours, with less chroma where sRGB has not that much."""
    while True:
        found = linear(lightness, chroma, hue)
        if chroma <= 0 or all(-0.001 <= value <= 1.001 for value in found):
            return "#" + "".join(f"{round(255 * _encoded(min(max(value, 0.0), 1.0))):02x}" for value in found)
        chroma -= 0.005


def linear(lightness: float, chroma: float, hue: float) -> tuple[float, float, float]:
    """Return linear red, green and blue of a colour in OKLCH (CSS Color 4, section 9.3; Ottosson)."""
    a, b = chroma * math.cos(math.radians(hue)), chroma * math.sin(math.radians(hue))
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short,
    )


def _encoded(value: float) -> float:
    return 12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055
