"""Whether a text shows anything at all."""

import unicodedata

# Of Default_Ignorable_Code_Point, those that are not format characters anyway, and the blank pattern of Braille.
BLANK = frozenset(
    map(
        chr,
        (
            *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0),
            *(*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0000, 0xE1000)),
        ),
    )
)
BLANK_CATEGORIES = frozenset(("Cc", "Cf", "Cn", "Cs", "Zl", "Zp", "Zs"))


def is_visible(text: str) -> bool:
    """Return whether a character can be seen: not a space, a control, a format or an ignorable character."""
    return any(unicodedata.category(one) not in BLANK_CATEGORIES and one not in BLANK for one in text)
