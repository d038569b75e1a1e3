"""Pages on which authors write: a new post, an edit, what becomes of it, and the lists of what they wrote."""

from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import Problem, invalid
from services.chassis.http.routes import body_limit
from services.contracts.body_sizes import POST_FORM_BYTES
from services.contracts.ids import id_or_none
from services.contracts.people import is_author
from services.gateway.composition import comment_views, post_views
from services.gateway.composition.request_context import Json, RequestContext
from services.gateway.guards import SignedIn, context_of
from services.gateway.languages import N_, said
from services.gateway.pages.forms import Fields, fields, gives_back
from services.gateway.pages.openers import require_opener
from services.gateway.pages.refusals import Refusal
from services.gateway.pages.render import PageRoute, page, post_path, problem_page, redirect, viewer_author
from services.gateway.responses import invalidation

router = APIRouter(route_class=PageRoute, include_in_schema=False)

READ_BYTES = 2 * 1024 * 1024  # what is too large to be taken is read so far, to be given back
DISCUSSIONS = ("open", "held", "closed")
STATUSES = ("published", "draft", "withdrawn")
FIELDS = ("title", "body", "slug", "discussion", "edit_note")
SAVED = {"saved": N_("Saved."), "withdrawn": N_("Withdrawn: only you and admins see it now.")}


@dataclass(frozen=True)
class PostForm:
    """The form of a post as it is shown, new or anew.

    Attributes:
        post: the post that is edited, as posts answers; None for a new one.
        values: what stands in the fields.
        version: of the post as it was when the form was opened, for `If-Match`; epoch, then version.
        key: the idempotency key, one as long as the form lives.
    """

    post: Json | None = None
    values: Fields = field(default_factory=lambda: {"discussion": "open"})
    version: str = ""
    key: str = field(default_factory=lambda: str(uuid4()))
    refusal: Refusal | None = None

    @classmethod
    def of(cls, post: Json) -> "PostForm":
        """Return the form to edit a post."""
        values = {name: str(post[name]) for name in ("title", "body", "slug", "discussion")}
        return cls(post, values, f"{post.get('epoch', 0)}-{post['version']}")

    @classmethod
    def sent(cls, sent: Fields, post: Json | None, refusal: Refusal) -> "PostForm":
        """Return a refused form with what was typed."""
        values = {name: sent.get(name, "") for name in FIELDS}
        return cls(post, values, sent.get("version", ""), id_or_none(sent.get("key")) or str(uuid4()), refusal)

    @property
    def action(self) -> str:
        return f"/write/{self.post['id']}" if self.post else "/write"


@router.get("/write")
async def new(request: Request, context: SignedIn) -> Response:
    _require_author(context)
    return await _shown(context, PostForm())


@router.get("/posts/{ref}/edit")
async def edit(request: Request, context: SignedIn, ref: str) -> Response:
    form = PostForm.of(await post_views.fetch(context, ref))
    return await _shown(context, form, said=said(SAVED, request.query_params.get("done")))


async def again(request: Request, sent: Fields, refusal: Refusal) -> Response:
    """Show the form anew with what was typed; a post that is gone or cannot be asked for is written anew."""
    context, post = context_of(request), None
    if context is None or context.viewer.person_id is None:
        form = PostForm.sent(sent, None, refusal)
        return page("post_form.html", status=refusal.status, headers=refusal.headers, form=form, said=None)
    post_id = id_or_none(request.path_params.get("post_id"))
    if post_id is not None:
        try:
            post = await post_views.fetch(context, post_id)
        except Problem as problem:
            return problem_page(problem)
    return await _shown(context, PostForm.sent(sent, post, refusal))


@router.post("/write")
@body_limit(READ_BYTES)
@gives_back(again, READ_BYTES)
async def create(request: Request, context: SignedIn) -> Response:
    """Store a new post, published or as a draft, by the button that was pressed."""
    _require_author(context)
    form = await _sent(request, context)
    publish = form.get("step") == "publish"
    body: Json = {name: form[name] for name in ("title", "body") if name in form}
    body |= {"slug": form["slug"].strip()} if form.get("slug", "").strip() else {}
    body |= {"discussion": _discussion(form), "publish": publish}
    headers = {"Idempotency-Key": form["key"]} if id_or_none(form.get("key")) else {}
    post = await _write(request, context, "POST", "/posts", body, headers)
    if publish:
        await comment_views.wait_for_version(context, post)
        return redirect(post_path(post["slug"]))
    return redirect(f"{post_path(post['slug'])}/edit?done=saved")


@router.post("/write/{post_id}")
@body_limit(READ_BYTES)
@gives_back(again, READ_BYTES)
async def change(request: Request, context: SignedIn, post_id: str) -> Response:
    """Store an edit, and publish or withdraw the post if that button was pressed."""
    found = id_or_none(post_id)
    if found is None:
        raise Problem("not-found")
    form = await _sent(request, context)
    body: Json = {name: form[name] for name in ("title", "body") if name in form} | {"discussion": _discussion(form)}
    body |= {"edit_note": form["edit_note"]} if form.get("edit_note", "").strip() else {}
    epoch, _, version = form.get("version", "").partition("-")
    tag = f'"{version}-e{epoch}-form"' if epoch not in ("", "0") else f'"{version}-form"'
    path, step = post_views.path_of(found), form.get("step")
    headers = {"If-Match": tag} if version.isdigit() and step != "overwrite" else {}
    post = await _write(request, context, "PATCH", path, body, headers)
    if step in ("publish", "withdraw"):
        post = await _write(request, context, "POST", f"{path}/{step}", None, {})
    await comment_views.wait_for_version(context, post)
    if post["status"] == "published" and step != "save":
        return redirect(post_path(post["slug"]))
    done = {"withdraw": "withdrawn"}.get(step or "", "saved")
    return redirect(f"{post_path(post['slug'])}/edit?done={done}")


@router.get("/me/posts")
async def mine(request: Request, context: SignedIn) -> Response:
    """List what the viewer wrote, by status."""
    _require_author(context)
    status = request.query_params.get("status", "draft")
    if status not in STATUSES:
        raise Problem("not-found")
    params = {"status": status, "author": "me"} | (
        {"cursor": cursor} if (cursor := request.query_params.get("cursor")) else {}
    )
    listed = (await post_views.listed(context, params)).data
    return page(
        "my_posts.html",
        viewer=await viewer_author(context),
        shown=status,
        items=listed["items"],
        next=listed["next"],
    )


async def _shown(context: RequestContext, form: PostForm, *, said: str | None = None) -> Response:
    refusal = form.refusal
    return page(
        "post_form.html",
        status=refusal.status if refusal else 200,
        headers=refusal.headers if refusal else None,
        viewer=await viewer_author(context),
        form=form,
        said=said,
    )


async def _sent(request: Request, context: RequestContext) -> Fields:
    form = await fields(request, POST_FORM_BYTES)
    await require_opener(context, form.get("for"))
    return form


async def _write(
    request: Request, context: RequestContext, method: str, path: str, body: Json | None, headers: dict[str, str]
) -> Any:
    answer = await context.upstreams.posts.send(
        method, path, context.viewer.caller, context.deadline, body=body, headers=headers
    )
    post = answer.json()
    invalidation(request).post(post["id"])
    post_views.remember_slug(context, post)
    return post


def _discussion(form: Fields) -> str:
    discussion = form.get("discussion", "open")
    if discussion not in DISCUSSIONS:
        raise invalid("discussion", N_("must be one of those offered"))
    return discussion


def _require_author(context: RequestContext) -> None:
    if not is_author(context.viewer.caller.roles):
        raise Problem("forbidden", N_("This page is for authors. Ask who runs this site to make you one."))
