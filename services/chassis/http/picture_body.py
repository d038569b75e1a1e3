"""Read the body of a request that is a picture."""

from starlette.requests import Request

from services.chassis.errors import Problem
from services.chassis.http.requests import check_content_length, read_body
from services.chassis.pictures.encoder import refused
from services.chassis.pictures.kinds import KINDS, kind_of


async def read_picture(request: Request, limit: int) -> tuple[bytes, str]:
    """Return the file and its media type, which the request names and its first bytes confirm.

    Raises:
        Problem: `unsupported-media-type`, `too-large`, `invalid` for an empty body; in this order.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    coding = request.headers.get("content-encoding", "identity").lower()
    if kind not in KINDS or coding != "identity":
        raise Problem("unsupported-media-type", f"Send a picture as {', '.join(KINDS)}.")
    check_content_length(request, limit)
    data = await read_body(request, limit)
    if not data:
        raise refused("is empty")
    if kind_of(data) != kind:
        raise Problem("unsupported-media-type", f"The file is not what the request says: {kind}.")
    return data, kind
