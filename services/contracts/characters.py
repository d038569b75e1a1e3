"""Which characters a text may hold and which can be seen: one policy for all fields, pages and mails (ADR 18)."""

import re
import unicodedata

LINE_END = re.compile(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
LINE_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")

FIRST_STRONG_ISOLATE, POP_ISOLATE = "\u2068", "\u2069"
# Ranges for a class of a pattern: those of thousands of characters take a few bytes, where a set takes a megabyte.
NONCHARACTERS = "\ufdd0-\ufdef" + "".join(f"{chr(end)}{chr(end + 1)}" for end in range(0xFFFE, 0x110000, 0x10000))
EMBEDDINGS, OTHER_ISOLATES = "\u202a-\u202e", "\u2066\u2067"
BYTE_ORDER_MARK_AND_ANNOTATIONS = "\ufeff\ufff9-\ufffb"
SURROGATES = "\ud800-\udfff"  # no field holds them, but a mail may be made from anything
_UNWANTED = NONCHARACTERS + EMBEDDINGS + OTHER_ISOLATES + BYTE_ORDER_MARK_AND_ANNOTATIONS + SURROGATES
NONCHARACTER = re.compile(f"[{NONCHARACTERS}]")
UNWANTED = re.compile(f"[{_UNWANTED}{FIRST_STRONG_ISOLATE}{POP_ISOLATE}]+")
UNWANTED_BUT_OWN_ISOLATES = re.compile(f"[{_UNWANTED}]+")
MAY_BE_UNWANTED = re.compile("[\u202a-\U0010ffff]")  # most alphabets stand before them
TAG = re.compile("[\U000e0000-\U000e007f]")
# The flag of a part of a country, such as Wales: a black flag, its code in tags, the end tag (UTS 51, ED-14a).
FLAG = (
    "\U0001f3f4(?:[\U000e0061-\U000e007a]{2}|[\U000e0030-\U000e0039]{3})"
    "[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,4}\U000e007f"
)
FLAG_OR_TAGS = re.compile(f"({FLAG})|[\U000e0000-\U000e007f]+")

# Of Default_Ignorable_Code_Point, those that are not format characters anyway, and the blank pattern of Braille.
BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]")
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
    text = (UNWANTED_BUT_OWN_ISOLATES if keep_isolates else UNWANTED).sub("", text)
    return FLAG_OR_TAGS.sub(r"\1", text) if TAG.search(text) else text


def is_visible(text: str) -> bool:
    """Return whether a character can be seen: not a space, a control, a format or an ignorable character."""
    return any(map(_is_visible, text))


def _is_visible(one: str) -> bool:
    category = unicodedata.category(one)
    if category == "Cn" and ord(one) in EMOJI:
        return True
    return category not in BLANK_CATEGORIES and not BLANK.match(one)


def isolated(text: str) -> str:
    """Return a name or a title so that its direction moves nothing beside it, where no `<bdi>` can stand.

    A text without letters from right to left moves nothing, and stays as it is.
    """
    text = without_unwanted(text)
    if text.isascii() or not any(unicodedata.bidirectional(one) in RIGHT_TO_LEFT for one in text):
        return text
    return f"{FIRST_STRONG_ISOLATE}{text}{POP_ISOLATE}"
