"""Pages on which authors write: a new post, an edit, and what becomes of it."""

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import Problem, invalid
from services.chassis.http.routes import body_limit, json_response
from services.contracts.body_sizes import IMAGE_BYTES, POST_FORM_BYTES
from services.contracts.ids import id_or_none
from services.gateway.access.rate_limits import PREVIEWING
from services.gateway.composition import comment_views, post_views
from services.gateway.composition.request_context import Json, RequestContext
from services.gateway.gateway import gateway_of
from services.gateway.guards import SignedIn, context_of, count
from services.gateway.languages import N_
from services.gateway.pages import cookies, post_pictures
from services.gateway.pages.authors import changeable, require_author
from services.gateway.pages.forms import Fields, Files, fields_and_files, gives_back
from services.gateway.pages.openers import require_opener
from services.gateway.pages.post_form import (
    PostForm,
    changes,
    creation,
    if_match,
    is_stored,
)
from services.gateway.pages.refusals import Refusal
from services.gateway.pages.render import (
    PageRoute,
    page,
    post_path,
    redirect,
    viewer_author,
)
from services.gateway.responses import invalidation

router = APIRouter(route_class=PageRoute, include_in_schema=False)

READ_BYTES = 2 * 1024 * 1024  # what is too large to be taken is read so far, to be given back
BYTES_WITH_PICTURES = POST_FORM_BYTES + IMAGE_BYTES + 64 * 1024  # below what proxies take, see deploy/proxies
NO_STORE = {"Cache-Control": "no-store"}
KEPT = "rapport.kept"  # in the scope of a request: what a form comes back with instead of what was sent


@router.get("/write")
async def new(request: Request, context: SignedIn) -> Response:
    require_author(context)
    return await _shown(context, PostForm.new(request.query_params.get("kind", "")))


@router.get("/posts/{ref}/edit")
async def edit(request: Request, context: SignedIn, ref: str) -> Response:
    form = PostForm.of(changeable(context, await post_views.fetch(context, ref)))
    return await _shown(context, form, done=request.query_params.get("done"))


async def again(request: Request, sent: Fields, refusal: Refusal) -> Response:
    """Show the form anew with what was typed; what is not there any more is written anew.

    A script is told why, and the form stays as it is.
    """
    if _is_by_script(request):
        said = {"kind": refusal.kind, "sentence": refusal.sentence, "field": refusal.field}
        return json_response(said, refusal.status, {**refusal.headers, **NO_STORE})
    context, sent = context_of(request), sent | request.scope.get(KEPT, {})
    post_id, post = id_or_none(request.path_params.get("post_id")), None
    if context is None or context.viewer.person_id is None:
        form = PostForm.sent(sent, post_id=post_id, refusal=refusal)
        return page("post_form.html", status=refusal.status, headers=refusal.headers, form=form, done=None,
                    now=datetime.now(UTC).isoformat())  # fmt: skip
    if post_id is not None:
        try:
            post = await post_views.fetch(context, post_id)
        except Problem as problem:
            post_id = None if problem.kind == "not-found" else post_id
    return await _shown(context, PostForm.sent(sent, post_id=post_id, post=post, refusal=refusal))


@router.post("/write")
@body_limit(BYTES_WITH_PICTURES)
@gives_back(again, READ_BYTES)
async def create(request: Request, context: SignedIn) -> Response:
    """Store a new post, as the button says that was pressed; or show the form as it says."""
    require_author(context)
    form, files = await _sent(request, context)
    if (shown := await _shown_only(request, context, form, files, None)) is not None:
        return shown
    form = await _with_cover(request, context, form, files)
    key = id_or_none(form.get("key"))
    post = await _write(
        request, context, "POST", "/posts", creation(form), {"Idempotency-Key": form["key"]} if key else {}
    )
    step = form.get("step")
    if step == "autosave":
        return _stored(post)
    headers = {"Set-Cookie": cookies.stored(gateway_of(request).settings, key)} if key else {}
    if step == "publish":
        await comment_views.wait_for_version(context, post)
        return redirect(post_path(post["slug"]), headers)
    return redirect(_form_of(post, {"schedule": "scheduled"}.get(step or "", "saved")), headers)


@router.post("/write/pictures")
@body_limit(BYTES_WITH_PICTURES)
@gives_back(again, READ_BYTES)
async def add_picture(request: Request, context: SignedIn) -> Response:
    """Store a picture for a form that is open; a script puts it into the text there."""
    require_author(context)
    form, files = await _sent(request, context)
    if "picture" not in files:
        raise invalid("picture", N_("must be chosen first"))
    picture = await post_pictures.store(request, context, "picture", files["picture"], form.get("key"))
    return json_response(picture, 201, NO_STORE)


@router.post("/write/{post_id}")
@body_limit(BYTES_WITH_PICTURES)
@gives_back(again, READ_BYTES)
async def change(request: Request, context: SignedIn, post_id: str) -> Response:
    """Store an edit, and publish or withdraw the post if that button was pressed."""
    found = id_or_none(post_id)
    if found is None:
        raise Problem("not-found")
    form, files = await _sent(request, context)
    before = await post_views.fetch(context, found)
    if (shown := await _shown_only(request, context, form, files, before)) is not None:
        return shown
    step, path = form.get("step", ""), post_views.path_of(found)
    if step == "autosave" and before["status"] != "draft":
        raise Problem("wrong-state", N_("Only a draft is stored by itself."))
    form = await _with_cover(request, context, form, files)
    headers = if_match(form.get("seen" if step == "overwrite" else "version", ""))
    if (key := id_or_none(form.get("key"))) is not None:
        headers["Idempotency-Key"] = key
    post = before
    if not is_stored(form, before):
        post = await _write(request, context, "PATCH", path, changes(form, before), headers)
    if step == "autosave":
        return _stored(post)
    if step in ("publish", "withdraw"):
        post = await _write(request, context, "POST", f"{path}/{step}", None, {})
    await comment_views.wait_for_version(context, post)
    if post["status"] == "published" and step != "save":
        return redirect(post_path(post["slug"]))
    done = {"withdraw": "withdrawn", "schedule": "scheduled", "unschedule": "unscheduled"}
    return redirect(_form_of(post, done.get(step, "saved")))


async def _shown_only(
    request: Request, context: RequestContext, form: Fields, files: Files, post: Json | None
) -> Response | None:
    """Return the form for a button that stores nothing of it, or with a picture that was chosen; None for the others.

    A chosen picture is put into the text whatever button was pressed, and shown there before anything is stored.
    """
    post_id = post["id"] if post else None
    if "picture" in files:
        picture = await post_pictures.store(request, context, "picture", files["picture"], form.get("key"))
        form = form | {"body": post_pictures.with_picture(form.get("body", ""), picture["url"], form.get("alt", ""))}
        done = "picture" if form.get("alt", "").strip() else "picture-without-words"
        return await _shown(context, PostForm.sent(form | {"alt": ""}, post_id=post_id, post=post), done=done)
    if form.get("step") == "picture":
        raise invalid("picture", N_("must be chosen first"))
    if form.get("step") == "preview":
        await count(request, gateway_of(request), PREVIEWING, str(context.viewer.person_id))
        posts, body = context.upstreams.posts, {"body": form.get("body", "")}
        rendered = (await posts.send("POST", "/preview", context.viewer.caller, context.deadline, body=body)).json()
        if _is_by_script(request):
            return json_response({"body_html": rendered["body_html"]}, headers=NO_STORE)
        shown = PostForm.sent(form, post_id=post_id, post=post, preview=rendered["body_html"])
        return await _shown(context, shown)
    return None


async def _with_cover(request: Request, context: RequestContext, form: Fields, files: Files) -> Fields:
    """Return the form with the cover that it brings along, which is there too if the form comes back."""
    if "cover_picture" not in files:
        return form
    picture = await post_pictures.store(request, context, "cover", files["cover_picture"], form.get("key"))
    request.scope[KEPT] = {"cover": picture["id"]}
    return form | {"cover": picture["id"]}


async def _shown(context: RequestContext, form: PostForm, *, done: str | None = None) -> Response:
    refusal = form.refusal
    return page(
        "post_form.html",
        status=refusal.status if refusal else 200,
        headers=refusal.headers if refusal else None,
        viewer=await viewer_author(context),
        form=form,
        done=done,
        now=datetime.now(UTC).isoformat(),
    )


async def _sent(request: Request, context: RequestContext) -> tuple[Fields, Files]:
    form, files = await fields_and_files(request, POST_FORM_BYTES, BYTES_WITH_PICTURES)
    await require_opener(context, form.get("for"))
    return form, files


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


def _stored(post: Json) -> Response:
    """Tell the page of a draft that was stored by itself how to store it again."""
    form = PostForm.of(post)
    said = {"action": form.action, "version": form.version, "key": form.key, "slug": post["slug"],
            "edit": _form_of(post), "delete": f"{post_path(post['slug'])}/delete"}  # fmt: skip
    return json_response(said, headers=NO_STORE)


def _is_by_script(request: Request) -> bool:
    return request.headers.get("accept") == "application/json"


def _form_of(post: Json, done: str | None = None) -> str:
    return f"{post_path(post['slug'])}/edit" + (f"?done={done}" if done else "")
