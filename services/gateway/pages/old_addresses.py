"""Lead from the addresses that posts had elsewhere, before they were imported, to their pages here (pure ASGI).

Posts is asked only about what would be a 404 else: our own pages come first.
"""

from urllib.parse import quote

from cachetools import TTLCache
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.chassis.errors import Problem
from services.chassis.http.problems import of_exception
from services.contracts.old_addresses import normal_address
from services.gateway.composition import post_views
from services.gateway.composition.request_context import RequestContext
from services.gateway.guards import context_of, optional_viewer
from services.gateway.pages.render import post_path, problem_page

REMEMBERED = 1_000
REMEMBERED_SECONDS = 30.0


class OldAddresses:
    """Middleware of the app, inside `RequestMiddleware`; what the fast path answers does not pass it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._slugs: TTLCache[str, str | None] = TTLCache(REMEMBERED, REMEMBERED_SECONDS)  # as strangers see them

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or f"{scope['path']}/".startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        if scope["path"] == "/":  # the front page answers whatever its query is
            answer = await self._answer(scope, receive) if scope["query_string"] else None
            await (answer or self._app)(scope, receive, send)
            return
        held: list[Message] = []

        async def hold_if_not_found(message: Message) -> None:
            if held or (message["type"] == "http.response.start" and message["status"] == 404):
                held.append(message)
            else:
                await send(message)

        await self._app(scope, receive, hold_if_not_found)
        answer = None
        # A post that is not here may have been elsewhere; every other page of ours is what it is.
        if held and ("route" not in scope or scope["path"].startswith("/posts/")):
            answer = await self._answer(scope, receive)
        if answer is not None:
            await answer(scope, receive, send)
            return
        for message in held:
            await send(message)

    async def _answer(self, scope: Scope, receive: Receive) -> Response | None:
        """Return a redirect to the post that had this address; None if the viewer may see no such post.

        The request is counted before its address is looked at, unless a route has counted it. While posts cannot be
        asked the answer is 503: "not found" would be taken for good.
        """
        request = Request(scope, receive)
        try:
            context = context_of(request) or await optional_viewer(request)
            address = normal_address(f"{quote(scope['path'])}?{scope['query_string'].decode('latin-1')}")
            slug = await self._slug(context, address) if address is not None else None
        except Exception as error:
            return problem_page(of_exception(error))
        if slug is None:
            return None
        # A browser keeps a redirect for ever unless told to ask, but the post may get another address.
        return Response(None, 301, {"Location": post_path(slug), "Cache-Control": "no-cache"})

    async def _slug(self, context: RequestContext, address: str) -> str | None:
        is_stranger = not context.viewer.private
        if is_stranger and address in self._slugs:
            return self._slugs[address]
        try:
            slug: str | None = await post_views.slug_of_address(context, address)
        except Problem as problem:
            if problem.kind != "not-found":
                raise
            slug = None
        if is_stranger:
            self._slugs[address] = slug
        return slug
