"""Which characters a text may hold and which can be seen: one policy for all fields, pages and mails (ADR 18)."""

import re
import unicodedata

LINE_END = re.compile(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
LINE_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")

FIRST_STRONG_ISOLATE, POP_ISOLATE = "\u2068", "\u2069"
OWN_ISOLATES = frozenset((FIRST_STRONG_ISOLATE, POP_ISOLATE))


def _characters(*ranges: range) -> frozenset[str]:
    return frozenset(chr(code) for each in ranges for code in each)


NONCHARACTERS = _characters(
    range(0xFDD0, 0xFDF0), *(range(plane + 0xFFFE, plane + 0x10000) for plane in range(0, 0x110000, 0x10000))
)
EMBEDDINGS_AND_ISOLATES = _characters(range(0x202A, 0x202F), range(0x2066, 0x206A))
TAGS = _characters(range(0xE0000, 0xE0080))
BYTE_ORDER_MARK_AND_ANNOTATIONS = _characters(range(0xFEFF, 0xFF00), range(0xFFF9, 0xFFFC))
SURROGATES = _characters(range(0xD800, 0xE000))  # no field holds them, but a mail may be made from anything
ALWAYS_UNWANTED = NONCHARACTERS | EMBEDDINGS_AND_ISOLATES | BYTE_ORDER_MARK_AND_ANNOTATIONS | SURROGATES
MAY_BE_UNWANTED = re.compile(f"[{min(ALWAYS_UNWANTED)}-\U0010ffff]")  # most alphabets stand before them
UNWANTED = dict.fromkeys(map(ord, ALWAYS_UNWANTED))  # for `str.translate`
UNWANTED_BUT_OWN_ISOLATES = dict.fromkeys(map(ord, ALWAYS_UNWANTED - OWN_ISOLATES))
# The flag of a part of a country, such as Wales: a black flag, its code in tags, the end tag (UTS 51, ED-14a).
FLAG = (
    "\U0001f3f4(?:[\U000e0061-\U000e007a]{2}|[\U000e0030-\U000e0039]{3})"
    "[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,4}\U000e007f"
)
FLAG_OR_TAGS = re.compile(f"({FLAG})|[\U000e0000-\U000e007f]+")

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
# Unicode keeps these for emoji: one that is newer than this Python's tables is unassigned to it, and yet to be seen.
EMOJI = range(0x1F000, 0x1FB00)

RIGHT_TO_LEFT = frozenset(("R", "AL", "AN"))


def without_unwanted(text: str, *, keep_isolates: bool = False) -> str:
    """Return the text without characters that hide, reorder or mean nothing; it may not be in NFC any more.

    Marks of direction (U+200E, U+200F, U+061C) and whole emoji stay: the tags of flags, joiners, variation selectors.

    Args:
        keep_isolates: keep the pairs that `isolated` has put around names and titles in the text.
    """
    if text.isascii() or not MAY_BE_UNWANTED.search(text):
        return text
    held = set(text)  # far fewer than the text has, so what follows takes no time where nothing is unwanted
    if not ALWAYS_UNWANTED.isdisjoint(held):
        text = text.translate(UNWANTED_BUT_OWN_ISOLATES if keep_isolates else UNWANTED)
    return text if TAGS.isdisjoint(held) else FLAG_OR_TAGS.sub(r"\1", text)


def is_visible(text: str) -> bool:
    """Return whether a character can be seen: not a space, a control, a format or an ignorable character."""
    return any(map(_is_visible, text))


def _is_visible(one: str) -> bool:
    category = unicodedata.category(one)
    if category == "Cn" and ord(one) in EMOJI:
        return True
    return category not in BLANK_CATEGORIES and one not in BLANK


def isolated(text: str) -> str:
    """Return a name or a title so that its direction moves nothing beside it, where no `<bdi>` can stand.

    A text without letters from right to left moves nothing, and stays as it is.
    """
    text = without_unwanted(text)
    if text.isascii() or not any(unicodedata.bidirectional(one) in RIGHT_TO_LEFT for one in text):
        return text
    return f"{FIRST_STRONG_ISOLATE}{text}{POP_ISOLATE}"
