"""Draw the mark of a site that has no picture: its first letter, in its colour."""

import math

from markupsafe import escape

from services.gateway.pages.thread import letter


def letter_mark(name: str, hue: int) -> bytes:
    """Return the mark of a site without a picture, as an SVG: its first letter in its colour."""
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64">'
        f'<rect width="64" height="64" rx="14" fill="{srgb(0.42, 0.12, hue)}"/>'
        '<text x="32" y="33" font-family="Georgia, serif" font-size="40" font-weight="700" fill="#fff" '
        f'text-anchor="middle" dominant-baseline="central">{escape(letter(name))}</text></svg>'
    ).encode()


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
