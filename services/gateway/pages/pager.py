"""The pager below a discussion: numbers, and the ways to the comments before and after those of the page."""

from dataclasses import dataclass
from urllib.parse import urlencode

from services.gateway.composition.request_context import Json
from services.gateway.pages.comment_form import CommentForm
from services.gateway.pages.thread import page_numbers

FRAGMENT = "#comments"


@dataclass(frozen=True)
class Pager:
    """Where a page of a discussion stands; addresses are relative to the page of the post.

    Attributes:
        page: its number, if it has one.
        numbers: those that are shown, with their addresses; None is a gap.
        back: the page before; None on the first page.
        on: the next page; None on the last one.
    """

    page: int | None
    numbers: list[tuple[int, str] | None]
    back: str | None
    on: str | None


def pager_of(listed: Json, form: CommentForm) -> Pager | None:
    """Return the pager of a list of comments; None where all of it is on the page, or the page is no part of the list.

    The next page begins behind the last comment of this one, so nobody misses a comment when others come and go
    meanwhile. What has a number is found by it, and so is the page before.
    """
    if "part" in listed:
        return None
    sort = {"sort": "newest"} if form.sort == "newest" else {}
    # An older version of comments numbers nothing.
    page = listed.get("page", None if "comments" in form.place_parameters else 1)
    previous, following = listed.get("previous"), listed["next"]
    is_first = page == 1
    if is_first and following is None:
        return None

    def address(**place: str) -> str:
        return f"?{urlencode(sort | place)}{FRAGMENT}"  # a fragment alone would lead to this page, not to the first

    def address_of(number: int) -> str:
        return address(page=str(number)) if number > 1 else address()

    back = None
    if not is_first:
        back = address_of(page - 1) if page is not None else address(comments=previous) if previous else address()
    on = address(comments=following) if following is not None else None
    shown = page_numbers(page, listed.get("pages"))
    return Pager(page, [None if one is None else (one, address_of(one)) for one in shown], back, on)
