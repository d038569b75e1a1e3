"""What a text would look like: `/v1/preview`."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.http.problems import validated
from services.chassis.http.routes import body_limit
from services.contracts.body_sizes import POST_BYTES
from services.gateway import responses
from services.gateway.apidocs.operations import operation
from services.gateway.apidocs.schemas.posts import Preview, Previewed
from services.gateway.composition.forwarding import body_of
from services.gateway.guards import Previewing, PublicRoute

router = APIRouter(prefix="/v1/preview", tags=["posts"], route_class=PublicRoute)


@router.post("", **operation("previewText", "Preview a text", Previewed, body=Preview))
@body_limit(POST_BYTES)
async def preview(request: Request, context: Previewing) -> Response:
    await body_of(request, POST_BYTES)
    sent = validated(Preview, await request.json())
    owner = context.upstreams.posts if sent.kind == "post" else context.upstreams.comments
    caller, body = context.viewer.caller, {"body": sent.body}
    answer = await owner.send("POST", "/preview", caller, context.deadline, body=body)
    return responses.not_stored({"body_html": answer.json()["body_html"]})
