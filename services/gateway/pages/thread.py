"""Lay out a discussion: the steps in which a template writes a tree of comments, numbers of pages, and times."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil

from markupsafe import Markup, escape

from services.contracts.characters import isolated
from services.gateway.composition.request_context import Json

FLUSH_LEVEL = 3  # replies stand flush from here on, on a phone; see `.answers` in rapport.css


@dataclass(slots=True)
class Step:
    """One step through a tree.

    Attributes:
        is_entered: whether its replies follow; else they are over.
        above: the comment that it answers, from the level on from which a reply may not be seen to be one.
        below: how many comments of its branch follow here.
    """

    is_entered: bool
    comment: Json
    above: Json | None
    below: int = 0


def outline(items: list[Json]) -> list[Step]:
    """Return a tree of comments as steps.

    A discussion may be a hundred deep, more than a template can call itself.
    """
    steps: list[Step] = []
    entered: list[tuple[Step, int]] = []  # comments that are not left yet, with the number of those before them
    waiting: list[tuple[bool, Json, Json | None, int]] = [(True, item, None, 0) for item in reversed(items)]
    number = 0
    while waiting:
        is_entered, item, above, level = waiting.pop()
        step = Step(is_entered, item, above if level >= FLUSH_LEVEL else None)
        steps.append(step)
        if is_entered:
            number += 1
            entered.append((step, number))
            waiting.append((False, item, above, level))
            waiting.extend((True, reply, item, level + 1) for reply in reversed(item["replies"]["items"]))
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


def page_numbers(page: int | None, pages: int | None) -> list[int | None]:
    """Return the numbers that a pager shows: the first, those beside this page, and the last; None is a gap.

    Args:
        page: this page; None where pages have no numbers any more.
        pages: how many there are; None for more than were counted, so that a gap ends the list.
    """
    last = pages or (page or 1) + 1
    near = {1, last, *(range(page - 1, page + 2) if page else ())}
    shown: list[int | None] = []
    for number in sorted(one for one in near if 1 <= one <= last):
        before = shown[-1] if shown else None
        if before is not None and number - before == 2:
            shown.append(number - 1)
        elif before is not None and number - before > 2:
            shown.append(None)
        shown.append(number)
    return shown if pages else [*shown, None]


def about(pattern: str, name: str) -> Markup:
    """Return HTML with a person's name, which stays in its direction, in the place of its `%s`."""
    return Markup(str(pattern).replace("%s", escape(isolated(name))))  # noqa: S704  # escaped


def minutes_left(created_at: str, window_seconds: float | None, now: datetime | None = None) -> int:
    """Return for how many minutes more a comment can be edited, the begun one counted; 0 once it cannot."""
    age = ((now or datetime.now(UTC)) - datetime.fromisoformat(created_at)).total_seconds()
    return max(0, ceil(((window_seconds or 0) - age) / 60))


def _names(items: list[Json]) -> Iterator[str]:
    return (item["author"]["name"] for item in items if item["author"] and item["author"]["name"])
