"""Normalise texts in a time that grows with their length."""

import re
import unicodedata
from functools import cache

LONG_TEXT = 1_000  # a shorter one takes at most milliseconds
LONG_RUN = 256  # of marks on one letter
MARKS_OF_MARKS = "\u0f73\u0f75\u0f81"  # of Tibetan; alone of all that are no marks they decompose into marks alone


def nfc(text: str) -> str:
    """Return the text in NFC.

    `unicodedata` sorts the marks on one letter by insertion: a field full of them would take minutes, before its length
    is known. So long runs are sorted here first.
    """
    if text.isascii():
        return text
    if len(text) > LONG_TEXT:
        text = _long_runs().sub(_in_canonical_order, text)
    return unicodedata.normalize("NFC", text)


def _in_canonical_order(run: re.Match[str]) -> str:
    marks = "".join(unicodedata.normalize("NFD", mark) for mark in run[0])
    return "".join(sorted(marks, key=unicodedata.combining))


@cache
def _long_runs() -> re.Pattern[str]:
    marks = "".join(filter(unicodedata.combining, map(chr, range(0x300, 0x1F000))))
    return re.compile(f"[{marks}{MARKS_OF_MARKS}]{{{LONG_RUN},}}")
