"""Pictures for the demo, drawn here: nothing is fetched, and nobody's photograph is used."""

import io
import math
from collections.abc import Sequence

from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]

SCALE = 2  # drawn so much larger and then shrunk, which smooths the edges


class _Sheet:
    """A sheet on which shapes are drawn in the coordinates of the finished picture."""

    def __init__(self, width: int, height: int, top: Colour, bottom: Colour) -> None:
        self.size = (width, height)
        column = Image.new("RGB", (1, height * SCALE))
        column.putdata([_between(top, bottom, row / (height * SCALE)) for row in range(height * SCALE)])
        self._image = column.resize((width * SCALE, height * SCALE))
        self._draw = ImageDraw.Draw(self._image)

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        self._draw.polygon([(x * SCALE, y * SCALE) for x, y in points], fill=colour)

    def circle(self, x: float, y: float, radius: float, colour: Colour) -> None:
        self.ellipse(x, y, radius, radius, colour)

    def ellipse(self, x: float, y: float, wide: float, high: float, colour: Colour) -> None:
        self._draw.ellipse(
            [(x - wide) * SCALE, (y - high) * SCALE, (x + wide) * SCALE, (y + high) * SCALE], fill=colour
        )

    def line(self, points: Sequence[Point], colour: Colour, width: float) -> None:
        self._draw.line(
            [(x * SCALE, y * SCALE) for x, y in points], fill=colour, width=round(width * SCALE), joint="curve"
        )

    def png(self) -> bytes:
        out = io.BytesIO()
        self._image.resize(self.size, Image.Resampling.LANCZOS).save(out, "PNG")
        return out.getvalue()


def _between(one: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def letter() -> bytes:
    """Draw an envelope and a pencil on a table."""
    sheet = _Sheet(1600, 900, (236, 219, 196), (206, 172, 134))
    for row in range(9):  # the grain of the wood
        y = 90 + row * 100
        wave = [(x, y + 9 * math.sin(x / 160 + row * 1.7)) for x in range(-20, 1640, 20)]
        sheet.line(wave, (193, 156, 117), 3)
    sheet.polygon([(352, 262), (1262, 190), (1322, 694), (412, 766)], (158, 122, 88))  # a shadow
    sheet.polygon([(330, 240), (1240, 168), (1300, 672), (390, 744)], (250, 246, 236))
    sheet.line([(390, 744), (760, 470), (880, 460), (1300, 672)], (214, 204, 186), 4)
    sheet.polygon([(330, 240), (1240, 168), (838, 520)], (255, 252, 245))
    sheet.line([(330, 240), (838, 520), (1240, 168)], (205, 194, 174), 5)
    sheet.circle(838, 506, 58, (150, 44, 40))
    sheet.circle(838, 506, 42, (171, 58, 52))
    sheet.line([(818, 508), (834, 524), (862, 488)], (226, 150, 140), 7)
    sheet.polygon([(1010, 838), (1500, 560), (1520, 596), (1030, 874)], (222, 164, 52))
    sheet.polygon([(1016, 850), (1506, 572), (1513, 584), (1023, 862)], (240, 190, 84))
    sheet.polygon([(1010, 838), (1030, 874), (958, 889)], (234, 205, 166))
    sheet.polygon([(976, 868), (985, 883), (958, 889)], (58, 52, 50))
    sheet.polygon([(1500, 560), (1520, 596), (1556, 576), (1536, 540)], (206, 112, 104))
    return sheet.png()


def beans() -> bytes:
    """Draw rows of beans below hills, in the evening."""
    sheet = _Sheet(1600, 900, (252, 214, 158), (246, 236, 214))
    sheet.circle(1180, 330, 120, (249, 178, 92))
    for base, height, length, colour in (
        (430, 70, 330, (150, 168, 160)),
        (500, 60, 270, (112, 143, 126)),
        (560, 34, 420, (86, 122, 96)),
    ):
        hills = [(x, base - height * math.sin(x / length + base)) for x in range(0, 1610, 10)]
        sheet.polygon([(0, 900), *hills, (1600, 900)], colour)
    sheet.polygon([(0, 640), (1600, 610), (1600, 900), (0, 900)], (110, 78, 54))
    for row, (y, size) in enumerate(((660, 34), (735, 50), (840, 74))):
        for number in range(-1, 1700 // (size * 2) + 1):
            x = number * size * 2 + row * size * 0.7
            sheet.line([(x, y), (x, y - size * 2.4)], (128, 98, 66), size / 9)
            for step in range(5):
                side = 1 if step % 2 else -1
                lift = y - size * (0.35 + step * 0.46)
                green = (58 + step * 9, 118 + step * 10, 62 + step * 4)
                sheet.ellipse(x + side * size * 0.38, lift, size * 0.44, size * 0.24, green)
    return sheet.png()


def shelf() -> bytes:
    """Draw a shelf of books."""
    sheet = _Sheet(1600, 900, (70, 78, 92), (52, 58, 70))
    colours: Sequence[Colour] = (
        (196, 88, 70), (226, 178, 92), (92, 138, 132), (214, 206, 188), (122, 96, 140), (86, 112, 164), (180, 132, 96),
    )  # fmt: skip
    for shelf_, bottom in enumerate((430, 850)):
        x, number = 60.0, shelf_ * 5
        while x < 1500:
            width, height = 44 + (number * 29) % 46, 240 + (number * 53) % 110
            lean = 26 if number % 7 == 6 else 0
            colour = colours[(number * 3 + shelf_) % len(colours)]
            sheet.polygon(
                [(x, bottom), (x + width, bottom), (x + width + lean, bottom - height), (x + lean, bottom - height)],
                colour,
            )
            band = _between(colour, (255, 250, 240), 0.55)
            for share in (0.16, 0.8):
                shift, y = lean * share, bottom - height * share
                sheet.line([(x + shift + 4, y), (x + width + shift - 4, y)], band, 7)
            x += width + (lean + 10 if lean else 4)
            number += 1
        sheet.polygon([(0, bottom), (1600, bottom), (1600, bottom + 34), (0, bottom + 34)], (126, 94, 66))
        sheet.polygon([(0, bottom + 34), (1600, bottom + 34), (1600, bottom + 44), (0, bottom + 44)], (40, 44, 54))
    return sheet.png()


def face(
    hair: Colour, skin: Colour, shirt: Colour, ground: Colour, *, long: bool = False, glasses: bool = False
) -> bytes:
    """Draw somebody's head and shoulders."""
    sheet = _Sheet(256, 256, _between(ground, (255, 255, 255), 0.25), ground)
    if long:
        sheet.ellipse(128, 128, 70, 86, hair)
        sheet.polygon([(58, 128), (198, 128), (204, 214), (52, 214)], hair)
    sheet.ellipse(128, 268, 96, 72, shirt)
    sheet.polygon([(108, 160), (148, 160), (152, 212), (104, 212)], _between(skin, (60, 30, 20), 0.12))
    sheet.ellipse(128, 122, 52, 62, skin)
    sheet.ellipse(128, 80, 58, 36, hair)
    sheet.ellipse(102, 92, 26, 22, hair)
    for x in (107, 149):
        sheet.circle(x, 124, 5, (44, 36, 34))
        if glasses:
            ring = [
                (x + 17 * math.cos(turn / 12 * math.pi), 124 + 15 * math.sin(turn / 12 * math.pi)) for turn in range(25)
            ]
            sheet.line(ring, (58, 54, 60), 3)
    if glasses:
        sheet.line([(123, 122), (133, 122)], (58, 54, 60), 3)
    smile = [
        (128 + 20 * math.cos(turn / 16 * math.pi), 148 + 10 * math.sin(turn / 16 * math.pi)) for turn in range(2, 15)
    ]
    sheet.line(smile, _between(skin, (120, 30, 30), 0.55), 4)
    return sheet.png()
