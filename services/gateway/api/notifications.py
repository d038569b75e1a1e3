"""Notifications, mail settings and discussions that are followed."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.contracts.notify import EditMailSettings, MarkRead
from services.gateway import responses
from services.gateway.api.references import PostRef, id_of
from services.gateway.apidocs.operations import operation
from services.gateway.apidocs.schemas import notifications as schemas
from services.gateway.composition import comment_views, post_views, representations
from services.gateway.composition.forwarding import body_of, forward, query_of
from services.gateway.composition.request_context import Composed
from services.gateway.guards import InPrivate, PublicRoute

router = APIRouter(prefix="/v1/me", tags=["notifications"], route_class=PublicRoute)
following = APIRouter(prefix="/v1/posts", tags=["notifications"], route_class=PublicRoute)

CACHED = ("If-None-Match",)
ONCE = ("Idempotency-Key",)


@router.get(
    "/notifications",
    **operation(
        "listNotifications",
        "List my notifications, newest first",
        schemas.Notifications,
        query=["cursor", "limit"],
        headers=CACHED,
    ),
)
async def listed(request: Request, context: InPrivate) -> Response:
    params = query_of(request, "cursor", "limit")
    raw = await context.upstreams.notify.get("/me/notifications", context.viewer.caller, context.deadline, params)
    items = [representations.notification(item) for item in raw["items"]]
    return responses.read(request, context, Composed({"items": items, "next": raw["next"]}))


@router.get(
    "/notifications/explain",
    **operation(
        "explainNotification",
        "Explain why I was, or was not, notified of a comment",
        schemas.Explanation,
        query=["comment"],
        headers=CACHED,
        kinds=["not-found", "invalid"],
    ),
)
async def explain(request: Request, context: InPrivate) -> Response:
    caller, deadline, params = context.viewer.caller, context.deadline, query_of(request, "comment")
    raw = await context.upstreams.notify.get("/me/notifications/explain", caller, deadline, params)
    if not raw["heard"]:  # then only a comment that the viewer may see is explained
        await context.upstreams.comments.get(comment_views.path_of(raw["comment_id"]), caller, deadline)
    return responses.read(request, context, Composed(representations.explanation(raw)))


@router.get("/mail", **operation("getMailSettings", "Get my mail settings", schemas.Mail, headers=CACHED))
async def mail(request: Request, context: InPrivate) -> Response:
    raw = await context.upstreams.notify.get("/me/mail", context.viewer.caller, context.deadline)
    return responses.read(request, context, Composed(representations.mail(raw)))


@router.patch(
    "/mail",
    **operation("editMailSettings", "Update my mail settings", schemas.Mail, body=EditMailSettings, headers=ONCE),
)
async def edit_mail(request: Request, context: InPrivate) -> Response:
    body = await body_of(request)
    answer = await forward(request, context, context.upstreams.notify, "/me/mail", body=body)
    return responses.not_stored(representations.mail(answer.json()), answer=answer)


@router.patch(
    "/notifications",
    **operation("markNotificationsRead", "Mark my notifications as read", schemas.Unread, body=MarkRead, headers=ONCE),
)
async def mark_read(request: Request, context: InPrivate) -> Response:
    body = await body_of(request)
    answer = await forward(request, context, context.upstreams.notify, "/me/notifications", body=body)
    responses.invalidation(request).reading(str(context.viewer.person_id))
    return responses.not_stored({"unread": answer.json()["unread"]}, answer=answer)


@router.post(
    "/feed",
    **operation("makeFeed", "Make the feed of answers to me", schemas.SecretFeed, status=201, headers=ONCE),
)
async def make_feed(request: Request, context: InPrivate) -> Response:
    answer = await forward(request, context, context.upstreams.notify, "/me/feed")
    url = f"{context.public_url.rstrip('/')}/feeds/{answer.json()['token']}.atom"
    return responses.not_stored({"url": url}, 201, answer=answer)


@router.delete("/feed", **operation("endFeed", "End the feed of answers to me", status=204))
async def end_feed(request: Request, context: InPrivate) -> Response:
    return responses.empty(await forward(request, context, context.upstreams.notify, "/me/feed", headers={}))


@following.put("/{ref}/follow", **operation("followPost", "Follow the discussion of a post", status=204, headers=ONCE))
async def follow(request: Request, context: InPrivate, ref: PostRef) -> Response:
    post = await post_views.fetch(context, ref)
    return responses.empty(await forward(request, context, context.upstreams.notify, f"/me/follows/{post['id']}"))


@following.delete(
    "/{ref}/follow", **operation("unfollowPost", "Follow the discussion of a post no more", status=204, headers=ONCE)
)
async def unfollow(request: Request, context: InPrivate, ref: PostRef) -> Response:
    post_id = await id_of(context, ref)  # of a post that is withdrawn since, too
    return responses.empty(await forward(request, context, context.upstreams.notify, f"/me/follows/{post_id}"))
