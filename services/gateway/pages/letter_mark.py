"""Draw the mark of a site that has no picture: its first letter, in its colour."""

from markupsafe import escape

from services.contracts.colours import srgb
from services.contracts.faces import letter


def letter_mark(name: str, hue: int) -> bytes:
    """Return the mark of a site without a picture, as an SVG: its first letter in its colour."""
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64">'
        f'<rect width="64" height="64" rx="14" fill="{srgb(0.42, 0.12, hue)}"/>'
        '<text x="32" y="33" font-family="Georgia, serif" font-size="40" font-weight="700" fill="#fff" '
        f'text-anchor="middle" dominant-baseline="central">{escape(letter(name))}</text></svg>'
    ).encode()
