"""Lay out a discussion: the steps in which a template writes a tree of comments, and the faces of those who wrote."""

from collections.abc import Iterator
from dataclasses import dataclass

from services.gateway.composition.request_context import Json

FLUSH_LEVEL = 3  # replies stand flush from here on, on a phone; see `.answers` in rapport.css
TONES = 12  # `.tone-0` and so on in rapport.css


@dataclass(slots=True)
class Step:
    """One step through a tree.

    Attributes:
        kind: `enter` a comment, the steps of its replies, `leave` it.
        above: the comment that it answers, from the level on from which a reply may not be seen to be one.
        below: how many comments of its branch follow here.
    """

    kind: str
    comment: Json
    above: Json | None
    below: int = 0


def outline(items: list[Json]) -> list[Step]:
    """Return a tree of comments as steps.

    A discussion may be a hundred deep, more than a template can call itself.
    """
    steps: list[Step] = []
    entered: list[tuple[Step, int]] = []  # comments that are not left yet, with the number of those before them
    waiting: list[tuple[str, Json, Json | None, int]] = [("enter", item, None, 0) for item in reversed(items)]
    number = 0
    while waiting:
        kind, item, above, level = waiting.pop()
        step = Step(kind, item, above if level >= FLUSH_LEVEL else None)
        steps.append(step)
        if kind == "enter":
            number += 1
            entered.append((step, number))
            waiting.append(("leave", item, above, level))
            waiting.extend(("enter", reply, item, level + 1) for reply in reversed(item["replies"]["items"]))
        else:
            first, before = entered.pop()
            first.below = step.below = number - before
    return steps


def first_named(comment: Json) -> str | None:
    """Return the name of the first who answers a comment and has one."""
    return next(_names(comment["replies"]["items"]), None)


def more_replies(comment: Json) -> int:
    """Return how many direct replies to a comment are on later pages; at least 1 where there are any."""
    replies = comment["replies"]
    shown = sum(reply["state"] == "visible" for reply in replies["items"])
    return max(comment["reply_count"] - shown, 1) if replies["next"] else 0


def tone(person_id: str) -> int:
    """Return the number of the two tones of a face. The end of an id is random; its beginning is a time."""
    return int(person_id[-6:], 16) % TONES


def letter(name: str | None) -> str:
    """Return the letter on a face: the first that a name has."""
    return next((one for one in name or "" if one.isalnum()), "·").upper()[:1]


def _names(items: list[Json]) -> Iterator[str]:
    return (item["author"]["name"] for item in items if item["author"] and item["author"]["name"])
