"""Edit and remove a comment of one's own, each on a page that leads back to where the comment stands."""

from dataclasses import dataclass, field, replace
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import Problem, not_found
from services.chassis.http.problems import of_exception
from services.chassis.http.routes import body_limit
from services.contracts.ids import id_or_none
from services.contracts.links import post_path
from services.gateway.composition import comment_views
from services.gateway.composition.request_context import Json, RequestContext
from services.gateway.guards import SignedIn, context_of
from services.gateway.languages import N_, gettext
from services.gateway.pages.comment_form import list_place_of, new_key
from services.gateway.pages.forms import READ_BYTES, Fields, fields, gives_back
from services.gateway.pages.openers import require_opener
from services.gateway.pages.post_form import if_match, version_of
from services.gateway.pages.previewing import previewed
from services.gateway.pages.refusals import Refusal
from services.gateway.pages.render import PageRoute, page, redirect, viewer_author
from services.gateway.pages.thread import minutes_left
from services.gateway.responses import invalidation

router = APIRouter(route_class=PageRoute, include_in_schema=False)

EDIT = "/posts/{ref}/comments/{comment_id}/edit"
REMOVE = "/posts/{ref}/comments/{comment_id}/remove"
STALE = N_(
    "Your comment was changed meanwhile, perhaps in another tab, so nothing was stored. "
    "Press the button again if this is to take the place of that."
)


@dataclass(frozen=True)
class OwnForm:
    """A form about a comment that is there already.

    Attributes:
        place: the query of the page of the list that it leads back to.
        text: what was typed; None for the text as it is.
        version: epoch and version of the comment that was shown.
    """

    ref: str
    comment_id: str
    place: str = ""
    text: str | None = None
    version: str = ""
    key: str = field(default_factory=new_key)
    refusal: Refusal | None = None
    preview: str | None = None

    @classmethod
    def of(cls, request: Request, sent: Fields | None = None) -> "OwnForm":
        """Return the form of a page, as it was sent if it was.

        Raises:
            Problem: `not-found` for what is no id.
        """
        sent = sent or {}
        found = id_or_none(request.path_params["comment_id"])
        if found is None:
            raise not_found()
        return cls(
            request.path_params["ref"],
            found,
            list_place_of(request.query_params),
            sent.get("body"),
            sent.get("version", ""),
            id_or_none(sent.get("key")) or new_key(),
        )

    @property
    def action(self) -> str:
        """The address of the comment, to which the step is added."""
        return f"{post_path(self.ref)}/comments/{self.comment_id}"

    @property
    def query(self) -> str:
        """The query of its own address."""
        return f"?{self.place}" if self.place else ""

    def back(self, comment_id: str | None, done: str | None = None) -> str:
        """Return the address of the discussion, at a comment if there is one."""
        place = [self.place, f"said={comment_id}" if comment_id else "", f"done={done}" if done else ""]
        query = "&".join(filter(None, place))
        anchor = f"c-{comment_id}" if comment_id else "comments"
        return f"{post_path(self.ref)}{'?' if query else ''}{query}#{anchor}"

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the request to comments."""
        return {"Idempotency-Key": self.key} | if_match(self.version)


@router.get(EDIT)
async def edit(request: Request, context: SignedIn) -> Response:
    """Show the text of a comment, to be edited."""
    return await _edit_page(context, OwnForm.of(request))


async def edit_again(request: Request, sent: Fields, refusal: Refusal) -> Response:
    """Show the form anew with what was typed; by itself where the comment cannot be asked for."""
    context, form = context_of(request), replace(OwnForm.of(request, sent), refusal=refusal)
    if refusal.kind in ("idempotency-key-reused", "stale"):
        form = replace(form, key=new_key(), version="")  # the next press stores it all the same
    if refusal.kind == "stale":
        form = replace(form, refusal=replace(refusal, sentence=gettext(STALE)))
    if context is not None and context.viewer.person_id is not None:
        try:
            return await _edit_page(context, form)
        except Exception as error:
            of_exception(error)  # logs it
    return page(
        "comment_edit.html", status=refusal.status, headers=refusal.headers, form=form, comment=None, text=form.text
    )


@router.post(EDIT)
@body_limit(READ_BYTES)
@gives_back(edit_again)
async def change(request: Request, context: SignedIn) -> Response:
    """Store the new text of a comment, or show what it would look like."""
    sent = await fields(request)
    await require_opener(context, id_or_none(sent.get("for")))
    form = OwnForm.of(request, sent)
    text = sent.get("body", "")
    if "preview" in sent:
        return await _edit_page(context, replace(form, preview=await previewed(request, context, text)))
    await _send(request, context, "PATCH", form, {"body": text})
    return redirect(form.back(form.comment_id, "edited"))


async def _edit_page(context: RequestContext, form: OwnForm) -> Response:
    raw, window_seconds = await _own(context, form.comment_id, form.refusal is None)
    left = minutes_left(raw["created_at"], window_seconds)
    if not left and form.refusal is None:
        form = replace(form, refusal=Refusal.of(Problem("edit-window-over")))
    version = form.version or version_of(raw)
    return page(
        "comment_edit.html",
        status=form.refusal.status if form.refusal else 200,
        headers=form.refusal.headers if form.refusal else None,
        viewer=await viewer_author(context),
        form=replace(form, version=version),
        comment=raw,
        text=raw["body"] if form.text is None else form.text,
        minutes_left=left,
    )


@router.get(REMOVE)
async def ask_to_remove(request: Request, context: SignedIn) -> Response:
    """Ask whether a comment is really to be removed."""
    return await _remove_page(context, OwnForm.of(request))


async def remove_again(request: Request, sent: Fields, refusal: Refusal) -> Response:
    """Ask once more, with why nothing was done."""
    context, form = context_of(request), replace(OwnForm.of(request, sent), refusal=refusal)
    if context is not None and context.viewer.person_id is not None:
        try:
            return await _remove_page(context, form)
        except Exception as error:
            of_exception(error)  # logs it
    return page("comment_remove.html", status=refusal.status, headers=refusal.headers, form=form, comment=None)


@router.post(REMOVE)
@body_limit(READ_BYTES)
@gives_back(remove_again)
async def remove(request: Request, context: SignedIn) -> Response:
    """Remove a comment, and lead to its place if replies keep it, else to what it answered."""
    sent = await fields(request)
    await require_opener(context, id_or_none(sent.get("for")))
    form = replace(OwnForm.of(request, sent), version="")
    try:
        raw, _ = await _own(context, form.comment_id)
    except Problem as problem:
        if problem.status != 404:
            raise
        return redirect(form.back(None, "removed"))  # it was removed before
    await _send(request, context, "DELETE", form, None, raw)
    stays = raw["replies"]["items"] or raw["replies"]["next"]
    return redirect(form.back(form.comment_id if stays else raw["parent_id"], "removed"))


async def _remove_page(context: RequestContext, form: OwnForm) -> Response:
    raw, _ = await _own(context, form.comment_id)
    refusal = form.refusal
    return page(
        "comment_remove.html",
        status=refusal.status if refusal else 200,
        headers=refusal.headers if refusal else None,
        viewer=await viewer_author(context),
        form=form,
        comment=raw,
    )


async def _own(context: RequestContext, comment_id: str, must_stand: bool = True) -> tuple[Json, float | None]:
    """Return a comment of the viewer as comments answers, and for how many seconds comments can be edited.

    Raises:
        Problem: `not-found` for one that is gone, `forbidden` for one by somebody else.
    """
    raw = await comment_views.fetch_context(context, comment_id, None)
    comment: Json = raw["comment"]
    if comment["author_id"] is None or (must_stand and comment["state"] == "removed"):
        raise not_found()
    if comment["author_id"] != str(context.viewer.person_id):
        raise Problem("forbidden", gettext("Only who wrote a comment may change it."))
    return comment, raw.get("edit_window_seconds")


async def _send(
    request: Request, context: RequestContext, method: str, form: OwnForm, body: Json | None, raw: Json | None = None
) -> Any:
    path, caller = comment_views.path_of(form.comment_id), context.viewer.caller
    answer = await context.upstreams.comments.send(
        method, path, caller, context.deadline, body=body, headers=form.headers
    )
    changed = raw or answer.json()
    invalidation(request).comment(changed["post_id"], str(context.viewer.person_id))
