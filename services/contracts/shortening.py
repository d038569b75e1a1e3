"""Shorten texts without cutting an emoji, or a letter with its marks, in two."""

import unicodedata

MOST_JOINED = 40  # the longest emoji that Unicode recommends has 10


def shortened(text: str, length: int) -> str:
    """Return at most `length` code points of the text, with `…` where it is cut; no emoji or letter is cut in two."""
    return text if len(text) <= length else beginning(text, length - 1).rstrip() + "…"


def beginning(text: str, length: int) -> str:
    """Return at most the first `length` code points, without the part of an emoji or of a letter with its marks.

    What has no end within `MOST_JOINED` code points is cut all the same.
    """
    for end in range(length, max(0, length - MOST_JOINED), -1):
        if not _belongs_together(text, end):
            return text[:end]
    return text[:length]


def _belongs_together(text: str, at: int) -> bool:
    """Return whether the code points before and after this place are one emoji, or one letter with its marks."""
    if not 0 < at < len(text):
        return False
    before, after = text[at - 1], text[at]
    if before == "\u200d" or after == "\u200d" or unicodedata.category(after) in ("Mn", "Me", "Mc"):
        return True
    if "\U0001f3fb" <= after <= "\U0001f3ff" or "\U000e0020" <= after <= "\U000e007f":
        return True
    if not (_is_regional(before) and _is_regional(after)):
        return False
    count = 1
    while count < at and _is_regional(text[at - 1 - count]):
        count += 1
    return count % 2 == 1


def _is_regional(one: str) -> bool:
    return "\U0001f1e6" <= one <= "\U0001f1ff"
