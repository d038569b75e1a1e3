"""Slugs: the readable part of a post's URL, in any script.

A slug is 1 to 200 lower-case letters, digits, `-` and `_` in NFC, never in the form of a UUID, because `{id or slug}`
means an id then. In scripts that write letters with combining marks, the marks count as part of the letters.
"""

import re
import unicodedata
from collections.abc import Iterator
from urllib.parse import unquote
from uuid import UUID

from services.chassis.errors import Problem, invalid
from services.contracts.ids import is_id
from services.contracts.normal_form import nfc

LONGEST = 200
LETTERS_AND_DIGITS = {"Ll", "Lo", "Lm", "Nd"}
MARKS = {"Mn", "Mc"}
APOSTROPHES = "'’ʼ"
HYPHENS = re.compile("-{2,}")


def as_id(reference: str) -> UUID | None:
    """Return the id if the reference has the form of a UUID; otherwise it is a slug."""
    return UUID(reference) if is_id(reference) else None


def as_slug(reference: str) -> str | None:
    """Return the reference as a slug in NFC, None when it is not a valid slug."""
    slug = nfc(reference)
    return slug if _is_valid(slug) else None


def _clean(text: str) -> str:
    """Replace all characters that a slug cannot contain by hyphens; the result may be empty."""
    kept: list[str] = []
    for character in nfc(text.lower()):
        category = unicodedata.category(character)
        follows_letter = bool(kept) and kept[-1] not in "-_"
        if category in LETTERS_AND_DIGITS or character == "_" or (category in MARKS and follows_letter):
            kept.append(character)
        elif category != "Cf" and character not in APOSTROPHES:
            kept.append("-")
    return HYPHENS.sub("-", "".join(kept)).strip("-")


def _is_valid(slug: str) -> bool:
    if not 1 <= len(slug) <= LONGEST or unicodedata.normalize("NFC", slug) != slug or is_id(slug):
        return False
    before = "-"
    for character in slug:
        category = unicodedata.category(character)
        follows_letter = before not in "-_"
        if not (category in LETTERS_AND_DIGITS or character in "-_" or (category in MARKS and follows_letter)):
            return False
        before = character
    return slug == slug.lower()


def validated(slug: str) -> str:
    """Return a slug that the author chose.

    Raises:
        Problem: `invalid` when it is not a valid slug.
    """
    if not _is_valid(slug):
        raise invalid("slug", "must be 1 to 200 lower-case letters or digits, '-' or '_', and not look like an id")
    return slug


def taken() -> Problem:
    """Return the problem of a chosen slug that another post has."""
    return invalid("slug", "is taken by another post")


def generated(post_id: UUID, *sources: str | None) -> str:
    """Generate a slug from the first source with usable characters, else from the id."""
    for source in sources:
        slug = _clean(source or "")[:LONGEST].strip("-")
        if slug:
            return f"post-{slug}" if is_id(slug) else slug
    return post_id.hex


def decoded(slug: str | None) -> str | None:
    """Decode a slug as blog software stores it: percent-encoded UTF-8 unless it is plain ASCII."""
    return None if slug is None else unquote(slug.encode(errors="replace").decode(), errors="replace")


def alternatives(slug: str) -> Iterator[list[str]]:
    """Yield `slug`, `slug-2`, `slug-3` … without end, in growing batches."""
    first, size = 1, 16
    while True:
        numbers = range(first, first + size)
        yield [slug if number == 1 else _numbered(slug, f"-{number}") for number in numbers]
        first, size = first + size, size * 4


def _numbered(slug: str, suffix: str) -> str:
    return slug[: LONGEST - len(suffix)].rstrip("-") + suffix
