"""What each kind of problem means, for whoever looks up its `type`."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import KINDS, not_found
from services.gateway.guards import Passer
from services.gateway.pages.render import PageRoute, page

router = APIRouter(route_class=PageRoute, include_in_schema=False)

INTERNAL = {"post-unknown"}  # said between services only

MEANINGS = {
    "malformed-json": "The body must be JSON (RFC 8259) in UTF-8, with finite numbers, nested at most 32 deep.",
    "malformed-cursor": "A cursor comes from `next` of the same list in the same order, unchanged.",
    "malformed-idempotency-key": "`Idempotency-Key` takes 1 to 255 printable ASCII characters, once.",
    "sign-in-required": "Send `Authorization: Bearer` with an access token.",
    "invalid-token": "The access token is malformed, expired or revoked. Refresh it, or sign in again.",
    "invalid-refresh-token": "The refresh token is unknown, expired, ended or was used before. Sign in again.",
    "forbidden": "You are signed in, you may see it, and you may not do this with it.",
    "cross-site": "A write with our cookie must come from our own pages. Other front ends use a Bearer token.",
    "not-found": "It does not exist, or you may not see it. The answer is the same for both.",
    "method-not-allowed": "`Allow` names the methods of this path.",
    "edit-window-over": "A comment can be edited for a limited time after it was written.",
    "discussion-closed": "The author closed the discussion. What is there stays readable.",
    "wrong-state": "The thing is in a state from which this step does not lead on.",
    "still-running": "The first request with this idempotency key has not ended. Wait as `Retry-After` says.",
    "link-used-or-expired": "A link to sign in works once, for ten minutes. Ask for another.",
    "stale": "`If-Match` names a version that is no longer the present one. Read the thing again.",
    "too-large": "Bodies may have 64 KiB, those of posts 256 KiB.",
    "unsupported-media-type": "Send `application/json` in UTF-8, without a content coding.",
    "invalid": "A field or a query parameter has a value that is not allowed; `errors` names each.",
    "idempotency-key-reused": "The key was used within 24 hours for a request that differs in method, path or body.",
    "too-many-requests": "Wait as `Retry-After` says. `RateLimit-Policy` names the limits.",
    "internal": "The fault is ours and has been logged under the request id.",
    "unavailable": "A part of the system does not answer now. Nothing is known to be wrong with the request.",
}


@router.get("/problems")
async def kinds(request: Request, _: Passer) -> Response:
    listed = [(kind, *KINDS[kind], MEANINGS[kind]) for kind in MEANINGS]
    return page("problem_kinds.html", kinds=listed, headers={"Cache-Control": "public, max-age=3600"})


@router.get("/problems/{kind}")
async def kind(request: Request, _: Passer, kind: str) -> Response:
    if kind not in MEANINGS:
        raise not_found()
    listed = [(kind, *KINDS[kind], MEANINGS[kind])]
    return page("problem_kinds.html", kinds=listed, headers={"Cache-Control": "public, max-age=3600"})
