"""Tags of posts: free words that people write, compared without regard to case."""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from services.contracts.characters import LINE_BREAKS, is_visible
from services.contracts.normal_form import nfc
from services.contracts.text import readable

LONGEST = 50
MOST_TAGS = 10
RELATIVE = (".", "..")  # a browser takes these out of an address, so no page could be theirs


def folded(tag: str) -> str:
    """Return what tags are compared by: two of the same folded form are one tag."""
    return nfc(tag.casefold())


def without_doubles(tags: list[str]) -> list[str]:
    """Return the tags in their order, of equal ones the first."""
    kept: dict[str, str] = {}
    for tag in tags:
        kept.setdefault(folded(tag), tag)
    return list(kept.values())


def _tag(value: object) -> object:
    if not isinstance(value, str):
        return value
    if LINE_BREAKS.search(value.strip()):
        raise ValueError("must not contain control characters")
    return " ".join(readable(value).split())


def _check(tag: str) -> str:
    if not 1 <= len(tag) <= LONGEST:
        raise ValueError(f"must have 1 to {LONGEST} characters")
    if not is_visible(tag):
        raise ValueError("must have a visible character")
    if "/" in tag or "," in tag or tag in RELATIVE:
        raise ValueError("must not contain '/' or ',', and not be '.' or '..'")
    return tag


Tag = Annotated[
    str,
    BeforeValidator(_tag),
    AfterValidator(_check),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": LONGEST, "pattern": "^[^/,]+$"}),
]
Tags = Annotated[list[Tag], Field(max_length=MOST_TAGS)]
