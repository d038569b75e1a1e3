"""Lead from the addresses that posts had elsewhere, before they were imported, to their pages here (pure ASGI).

Posts is asked only about what would be a 404 else: our own pages come first.
"""

from urllib.parse import quote

from cachetools import TTLCache
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from services.chassis.errors import Problem
from services.chassis.http.problems import of_exception
from services.chassis.runtime.context import Context, bound, next_hop
from services.contracts.old_addresses import normal_address
from services.gateway.composition import post_views
from services.gateway.guards import OptionalViewerGuard
from services.gateway.pages.render import post_path, problem_page
from services.gateway.response_headers import request_id

REMEMBERED = 10_000
REMEMBERED_SECONDS = 30.0


class OldAddresses:
    """Middleware around FastAPI's app, inside `ResponseHeaders`."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._guard = OptionalViewerGuard()
        self._slugs: TTLCache[str, str | None] = TTLCache(REMEMBERED, REMEMBERED_SECONDS)  # as strangers see them

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD") or scope["path"].startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        if scope["path"] == "/":  # the front page answers whatever its query is
            answer = await self._answer(scope, receive, request_id(scope)) if scope["query_string"] else None
            await (answer or self._app)(scope, receive, send)
            return
        held: list[Message] = []

        async def hold_if_not_found(message: Message) -> None:
            if held or (message["type"] == "http.response.start" and message["status"] == 404):
                held.append(message)
            else:
                await send(message)

        await self._app(scope, receive, hold_if_not_found)
        if not held:
            return
        answer = None
        if not self._is_own(scope["path"]):
            answer = await self._answer(scope, receive, dict(held[0]["headers"]).get(b"x-request-id", b""))
        if answer is not None:
            await answer(scope, receive, send)
            return
        for message in held:
            await send(message)

    def _is_own(self, path: str) -> bool:
        """Return whether the address is of a page of ours; a post that is not here may have been elsewhere."""
        return not path.startswith("/posts/") and bool(self._app.state.routes.knows(path))

    async def _answer(self, scope: Scope, receive: Receive, own_id: bytes) -> Response | None:
        """Return a redirect to the post that had this address; None if the viewer may see no such post.

        While posts cannot be asked the answer is 503: "not found" would be taken for good.
        """
        address = normal_address(f"{quote(scope['path'])}?{scope['query_string'].decode('latin-1')}")
        if address is None:
            return None
        scope.setdefault("app", self._app)
        with bound(Context(correlation_id=own_id.decode("latin-1"), traceparent=next_hop(None))):
            try:
                slug = await self._slug(Request(scope, receive), address)
            except Exception as error:
                answer = problem_page(of_exception(error))
            else:
                if slug is None:
                    return None
                # A browser keeps a redirect for ever unless told to ask, but the post may get another address.
                answer = Response(None, 301, {"Location": post_path(slug), "Cache-Control": "no-cache"})
        answer.headers["X-Request-ID"] = own_id.decode("latin-1")
        return answer

    async def _slug(self, request: Request, address: str) -> str | None:
        context = await self._guard.admit(request)
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
