"""Find the places in imported HTML that its own links lead to."""

import re
from urllib.parse import unquote

from services.chassis.text.tokens import Tag, tokens

LINK = re.compile(r"""\shref\s*+=\s*+["']?\s*+[#&]""", re.IGNORECASE)
TO_TOP = frozenset(("", "top"))


def targets_in(html: str, anchor: str) -> dict[str, str]:
    """Return an id of our own for each id or name in HTML that a link in it leads to.

    Args:
        anchor: what makes the ids unique on a page.
    """
    if LINK.search(html) is None:
        return {}
    linked: dict[str, None] = {}
    given: set[str] = set()
    for token in tokens(html):
        if isinstance(token, str) or token.closes or not token.source:
            continue
        given.update(names_of(token))
        href = token.attributes().get("href", "").strip()
        if token.name == "a" and href.startswith("#"):
            linked[unquote(href[1:])] = None
    found = [name for name in linked if name in given]
    return {name: f"fn-{anchor}-{number}" for number, name in enumerate(found, 1)}


def names_of(tag: Tag) -> list[str]:
    """Return the names under which links may lead to an element."""
    attributes = tag.attributes()
    given = attributes.get("id"), attributes.get("name") if tag.name == "a" else None
    return [name for name in given if name]


def new_fragment(href: str, targets: dict[str, str]) -> str | None:
    """Return the link to a target's own id; None if it leads nowhere. One to the top of the page stays."""
    name = unquote(href[1:])
    if name in targets:
        return f"#{targets[name]}"
    return href if name.lower() in TO_TOP else None
