"""The form in which a comment or a reply is written: what it holds, for whom it is, and where it stands."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode
from uuid import uuid4

from starlette.requests import Request

from services.contracts.comments import DEEPEST
from services.contracts.ids import id_or_none
from services.contracts.links import post_path
from services.gateway.composition.request_context import Json
from services.gateway.pages.forms import Fields
from services.gateway.pages.refusals import Refusal

LIST_PLACE = ("comments", "page", "sort")  # parameters that say which page of a discussion is shown
PLACE = (*LIST_PLACE, "comment", "thread", "replies")  # and which part of it instead
LAST_PAGE = 1_000_000
PAGE = re.compile(r"[1-9][0-9]{0,8}")


def new_key() -> str:
    """Return a new idempotency key."""
    return str(uuid4())


@dataclass(frozen=True)
class CommentForm:
    """A form as it is shown, new or anew.

    Attributes:
        ref: the post, as its page is addressed.
        key: the idempotency key, one as long as the form lives, however often it comes back; empty if it came without.
        opened_by: the id of the person it was shown to; None in a form of somebody who was not signed in.
        place: the query of the page on which it stands.
        refusal: why it came back.
        preview: what the text would look like, where that was asked for.
        is_kept: whether it was kept while somebody signed in.
        quotes: whether the text is to begin with what it answers.
        is_asked_for: whether somebody has asked for it, so that it takes the focus.
    """

    ref: str
    post_id: str = ""
    parent_id: str | None = None
    key: str = field(default_factory=new_key)
    opened_by: str | None = None
    text: str = ""
    place: str = ""
    refusal: Refusal | None = None
    preview: str | None = None
    is_kept: bool = False
    quotes: bool = False
    is_asked_for: bool = False

    @classmethod
    def opened(cls, request: Request, ref: str) -> "CommentForm":
        """Return the empty form of a page."""
        query = request.query_params
        quoted = id_or_none(query.get("quote"))
        parent_id = quoted or id_or_none(query.get("reply_to"))
        return cls(
            ref,
            parent_id=parent_id,
            place=place_of(request),
            quotes=quoted is not None,
            is_asked_for=parent_id is not None,
        )

    @classmethod
    def sent(cls, request: Request, ref: str, fields: Fields) -> "CommentForm":
        """Return the form that a browser sent."""
        return cls(
            ref,
            post_id=id_or_none(fields.get("post_id")) or "",
            parent_id=id_or_none(fields.get("parent_id")),
            key=id_or_none(fields.get("key")) or "",
            opened_by=id_or_none(fields.get("for")),
            text=fields.get("body", ""),
            place=place_of(request),
        )

    def refused(self, refusal: Refusal) -> "CommentForm":
        """Return the form as it comes back: with its key, unless that belongs to something else by now."""
        is_used = refusal.kind == "idempotency-key-reused"
        return replace(self, refusal=refusal, key=new_key() if is_used or not self.key else self.key)

    @property
    def anchor(self) -> str:
        """The id of the text area, which browsers scroll to and focus."""
        return f"reply-{self.parent_id}" if self.parent_id else "reply"

    @property
    def action(self) -> str:
        """The address that it is sent to: the place comes along, so that it comes back there."""
        query = f"?{self.place}" if self.place else ""
        return f"{post_path(self.ref)}/comments{query}"

    @property
    def place_parameters(self) -> dict[str, str]:
        """The parameters of the place."""
        return dict(parse_qsl(self.place))

    @property
    def list_place(self) -> str:
        """The query of the page of the list from which somebody came, without the comment that was shown of it."""
        return list_place_of(self.place_parameters)

    @property
    def sort(self) -> Literal["oldest", "newest"]:
        """The order of the list."""
        return "newest" if self.place_parameters.get("sort") == "newest" else "oldest"

    @property
    def page(self) -> int:
        """The number of the page of the list, the first by default."""
        number = self.place_parameters.get("page", "")
        return min(int(number), LAST_PAGE) if PAGE.fullmatch(number) else 1

    @property
    def parent_is_wrong(self) -> bool:
        """Whether it came back because what it answers cannot be answered."""
        return self.refusal is not None and self.refusal.field == "parent_id"


def place_of(request: Request) -> str:
    """Return the query that leads to the part of a discussion that a request is about."""
    query: Mapping[str, str] = request.query_params
    return urlencode({name: query[name] for name in PLACE if name in query})


def list_place_of(query: Mapping[str, str]) -> str:
    """Return the part of a query that says which page of the list is shown."""
    return urlencode({name: query[name] for name in LIST_PLACE if query.get(name)})


def can_be_answered(comment: Json) -> bool:
    """Return whether a reply to this comment would be taken, as far as a page can tell."""
    return bool(comment["state"] == "visible" and comment["depth"] < DEEPEST)


def find(items: list[Json], comment_id: str | None) -> Json | None:
    """Return a comment of a tree."""
    waiting: list[Any] = list(items)
    while waiting:
        item: Json = waiting.pop()
        if item["id"] == comment_id:
            return item
        waiting.extend(item["replies"]["items"])
    return None
