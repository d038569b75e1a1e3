"""Subjects of answers: one `Re:`, whatever marks of answers and forwards stand before a title already."""

import re

# Nothing of this can be seen between the parts of a mark.
GAP = r"[\s\u00ad\u200b-\u200f\u2060\u061c]*"
# RFC 5256, 2.1, and what mail clients in other languages write. Marks that are words too (SV, VS, R) are left alone.
MARK = re.compile(
    rf"{GAP}(?:(?:re|ｒｅ|aw|antw|odp|ynt|отв|رد|回复|回覆|答复|答覆)|(?P<forward>fwd?))"
    rf"(?:{GAP}(?:\[\d{{1,3}}\]|\(\d{{1,3}}\)|[*^]\d{{1,3}}))?{GAP}[:：]{GAP}",
    re.IGNORECASE,
)


def without_answer_marks(title: str) -> str:
    """Return a title without the marks of answers at its beginning; those of forwards, which tell what it is, stay."""
    forwards, position = "", 0
    while mark := MARK.match(title, position):
        if mark["forward"]:
            forwards += f"{mark['forward']}: "
        position = mark.end()
    return forwards + title[position:]
