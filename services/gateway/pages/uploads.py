"""Send a picture that a form carries to its owner; what is refused is said of the form's field."""

from collections.abc import Mapping

from services.chassis.client.client import ServiceResponse
from services.chassis.errors import Problem, invalid
from services.chassis.pictures.kinds import kind_of
from services.contracts.body_sizes import AVATAR_BYTES, IMAGE_BYTES
from services.gateway.composition.request_context import RequestContext
from services.gateway.composition.upstreams import Upstream
from services.gateway.languages import N_

TOO_LARGE: Mapping[int, str] = {
    IMAGE_BYTES: N_("must have at most 5 MiB"),
    AVATAR_BYTES: N_("must have at most 1 MiB"),
}


def require_picture(field: str, data: bytes, most: int) -> str:
    """Return the media type of a picture.

    Args:
        most: the bytes that it may have, one of `TOO_LARGE`.

    Raises:
        Problem: `invalid` for the field.
    """
    kind = kind_of(data)
    if kind is None:
        raise invalid(field, N_("must be a PNG, JPEG, WebP or GIF file"))
    if len(data) > most:
        raise invalid(field, TOO_LARGE[most])
    return kind


async def send(
    context: RequestContext,
    owner: Upstream,
    method: str,
    path: str,
    field: str,
    data: bytes,
    kind: str,
    key: str | None = None,
) -> ServiceResponse:
    """Send a picture to its owner and return the answer.

    Args:
        key: the idempotency key.

    Raises:
        Problem: `invalid` for the field, and others of the owner.
    """
    headers = {"Content-Type": kind} | ({"Idempotency-Key": key} if key else {})
    try:
        return await owner.send(method, path, context.viewer.caller, context.deadline, body=data, headers=headers)
    except Problem as problem:
        if problem.kind == "invalid" and problem.errors:  # to the owner the file is all that was sent
            raise invalid(field, problem.errors[0].message) from None
        raise
