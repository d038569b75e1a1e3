"""Path parameters of the public API: ids in any case of letters, and posts by id or slug. What is neither is a 404."""

from typing import Annotated

from fastapi import Path
from pydantic import AfterValidator, WithJsonSchema

from services.contracts.ids import canonical, id_or_none, is_id
from services.gateway.composition import post_views
from services.gateway.composition.request_context import RequestContext


def post_reference(text: str) -> str:
    """Return an id in lower case; anything else may be a slug, which posts judges."""
    return id_or_none(text) or text


PathId = Annotated[str, AfterValidator(canonical), WithJsonSchema({"type": "string", "format": "uuid"})]
RevisionNumber = Annotated[int, Path(ge=1, lt=2**31)]
PostRef = Annotated[str, AfterValidator(post_reference), WithJsonSchema({"type": "string"})]


async def id_of(context: RequestContext, ref: str) -> str:
    """Return the id that a reference means, asking posts about a slug.

    Raises:
        Problem: `not-found` for a slug of no post that the viewer may see.
    """
    return ref if is_id(ref) else str((await post_views.fetch(context, ref))["id"])
