"""Lead from a slug that a post had before to the one that it has now."""

from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response


class Moved(Exception):
    """A post was asked for by a slug that it had before, by somebody who may see it."""

    def __init__(self, slug: str) -> None:
        self.slug = slug
        super().__init__(slug)

    def redirect(self, request: Request, status: int) -> Response:
        """Return a redirect to the same path below the post's present slug.

        It is not kept: the post may take its former slug back.
        """
        parts = request.url.path.split("/")
        parts[parts.index("posts") + 1] = self.slug
        query = request.scope["query_string"].decode("latin-1")
        location = quote("/".join(parts), safe="/") + (f"?{query}" if query else "")
        return Response(None, status, {"Location": location, "Cache-Control": "no-cache"})
