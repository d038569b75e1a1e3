"""Show how a post was changed: its revisions, and what differs between two. Its author takes a former text away."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import uuid4

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import Problem, invalid
from services.chassis.http.routes import body_limit
from services.contracts.ids import id_or_none
from services.contracts.people import is_admin
from services.gateway.caching.cacheable import offer_to_cache
from services.gateway.composition import post_views
from services.gateway.composition.request_context import Json, RequestContext
from services.gateway.guards import OptionalViewer, SignedIn, context_of, count_comparison
from services.gateway.languages import gettext
from services.gateway.pages.forms import READ_BYTES, Fields, fields, gives_back
from services.gateway.pages.openers import require_opener
from services.gateway.pages.refusals import Refusal
from services.gateway.pages.render import (
    PageRoute,
    page,
    post_path,
    problem_page,
    redirect,
    refused_page,
    viewer_author,
)
from services.gateway.responses import invalidation

router = APIRouter(route_class=PageRoute, include_in_schema=False)

MOST_SHOWN = 250_000  # characters of a difference
SEEN_AROUND = 3  # lines before and after a change that stay unfolded, the one that it stands in with them
FEWEST_FOLDED = 4
LAST = 2**31 - 1


@dataclass(frozen=True)
class Piece:
    """A piece of a difference as it is shown.

    Attributes:
        lines: how many are folded together because nothing changed in them; 0 where nothing is folded.
    """

    op: str
    text: str
    lines: int = 0


@dataclass(frozen=True)
class Compared:
    """Two revisions and what differs; without pieces if one of them was blanked.

    Attributes:
        title: what differs in the title; empty if nothing does.
    """

    old: Json
    new: Json
    pieces: Sequence[Piece] | None = None
    title: Sequence[Piece] = ()
    is_same: bool = False
    is_too_long: bool = False


@router.get("/posts/{ref}/changes")
async def changes(request: Request, context: OptionalViewer, ref: str) -> Response:
    blanked = request.query_params.get("blanked", "")
    return await _shown(request, context, ref, blanked=_number(blanked))


async def again(request: Request, form: Fields, refusal: Refusal) -> Response:
    """Show the page with what forbids it."""
    context = context_of(request)
    if context is None or context.viewer.person_id is None:
        return refused_page(refusal, f"{post_path(request.path_params['ref'])}/changes")
    try:
        return await _shown(request, context, request.path_params["ref"], refusal=refusal)
    except Problem as problem:
        return problem_page(problem)


@router.post("/posts/{ref}/changes")
@body_limit(READ_BYTES)
@gives_back(again)
async def blank(request: Request, context: SignedIn, ref: str) -> Response:
    """Take away the text of a former revision."""
    form = await fields(request)
    await require_opener(context, form.get("for"))
    number = _number(form.get("revision", ""))
    if number is None:
        raise invalid("revision", gettext("Press one of the buttons of this page."))
    post = await post_views.fetch(context, ref)
    headers = {"Idempotency-Key": form["key"]} if id_or_none(form.get("key")) else {}
    path = post_views.revision_path(post["id"], number)
    await context.upstreams.posts.send("DELETE", path, context.viewer.caller, context.deadline, headers=headers)
    invalidation(request).post(post["id"])
    return redirect(f"{post_path(post['slug'])}/changes?blanked={number}")


async def _shown(
    request: Request, context: RequestContext, ref: str, *, blanked: int | None = None, refusal: Refusal | None = None
) -> Response:
    raw = await post_views.fetch(context, ref)
    cursor = request.query_params.get("cursor")
    listed = await _listed(context, raw["id"], cursor)
    known = {one["revision"]: one for one in listed["items"]}
    compared, is_missing = None, False
    if refusal is None and (wanted := _wanted(request, raw["revision"])) is not None:
        await count_comparison(request, context)
        compared = await _compared(context, raw["id"], *wanted)
        is_missing = compared is None
    viewer, post = await asyncio.gather(viewer_author(context), post_views.with_author(context, raw))
    status = refusal.status if refusal else 404 if is_missing else 200
    if status == 200:
        offer_to_cache(request, context)
    return page(
        "changes.html",
        status=status,
        headers=refusal.headers if refusal else None,
        viewer=viewer,
        post=post.data,
        revisions=listed["items"],
        next=listed["next"],
        is_later=bool(cursor) and raw["revision"] not in known,
        compared=compared,
        is_missing=is_missing,
        can_blank=_may_blank(context, raw),
        keys={number: str(uuid4()) for number in known},
        blanked=blanked if blanked in known and known[blanked]["title"] is None else None,
        refusal=refusal,
    )


async def _listed(context: RequestContext, post_id: str, cursor: str | None) -> Json:
    try:
        return await post_views.revision_notes(context, post_id, {"cursor": cursor} if cursor else {})
    except Problem as problem:
        if problem.kind != "malformed-cursor":
            raise
        return await post_views.revision_notes(context, post_id, {})


def _wanted(request: Request, present: int) -> tuple[int, int] | None:
    """Return which revisions to compare, the older one first; by default the present one with the one before.

    Without its end a comparison goes up to the present one, without its beginning it begins one before its end.
    """
    query = request.query_params
    if "from" not in query and "to" not in query:
        return None if present == 1 or query.get("cursor") else (present - 1, present)
    to = _number(query.get("to", str(present))) or LAST
    since = _number(query.get("from", str(max(to - 1, 1)))) or LAST
    return min(since, to), max(since, to)


async def _compared(context: RequestContext, post_id: str, since: int, to: int) -> Compared | None:
    """Return the difference of two revisions; None where one of them is not there."""
    try:
        old, new = await asyncio.gather(
            post_views.revision(context, post_id, since),
            post_views.revision(context, post_id, to, {"against": str(since)}),
        )
    except Problem as problem:
        if problem.kind in ("not-found", "invalid"):
            return None
        raise
    parts = new.data["diff"]
    if parts is None:
        return Compared(old.data, new.data)
    title = [Piece("delete", old.data["title"]), Piece("insert", new.data["title"])]
    return Compared(
        old.data,
        new.data,
        pieces=list(_pieces(parts)),
        title=title if old.data["title"] != new.data["title"] else (),
        is_same=all(part["op"] == "equal" for part in parts),
        is_too_long=sum(len(part["text"]) for part in parts) > MOST_SHOWN,
    )


def _pieces(parts: Sequence[Json]) -> Iterator[Piece]:
    """Yield a difference as it is shown: long passages without a change are folded, and changed spaces can be seen."""
    for place, part in enumerate(parts):
        if part["op"] != "equal":
            yield Piece(part["op"], _seen(part["text"]))
            continue
        lines = part["text"].splitlines(keepends=True)
        begin = SEEN_AROUND if place else 0
        end = len(lines) - (SEEN_AROUND if place < len(parts) - 1 else 0)
        if end - begin < FEWEST_FOLDED:
            yield Piece("equal", part["text"])
            continue
        yield Piece("equal", "".join(lines[:begin]))
        yield Piece("equal", "".join(lines[begin:end]), lines=end - begin)
        yield Piece("equal", "".join(lines[end:]))


def _seen(text: str) -> str:
    return text.replace(" ", "␣").replace("\n", "↵\n") if text.isspace() else text


def _number(text: str) -> int | None:
    """Return the number of a revision; None for what cannot be one."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 and 1 <= int(text) <= LAST else None


def _may_blank(context: RequestContext, post: Json) -> bool:
    person_id = context.viewer.person_id
    return is_admin(context.viewer.caller.roles) or (person_id is not None and str(person_id) == post["author_id"])
