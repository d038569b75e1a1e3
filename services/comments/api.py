"""HTTP to command or query."""

from datetime import timedelta
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime, Field
from starlette.responses import Response

from services.chassis.database.pool import Database
from services.chassis.http.requests import idempotency_key
from services.chassis.http.routes import StrictRoute, allow, body_limit, json_response
from services.chassis.identity import Caller
from services.comments import commands, queries
from services.comments.commands import Done
from services.comments.domain.comment import Step
from services.contracts.comments import CreateComment, EditComment, ImportComment
from services.contracts.text import Body

IMPORT_BYTES = 8 * 1024 * 1024

Gateway = Annotated[Caller, allow("gateway")]
Operator = Annotated[Caller, allow("operator")]
Reader = Annotated[Caller, allow("gateway", "notify")]
Limit = Annotated[int, Query(ge=1, le=200)]
Ids = Annotated[list[UUID], Field(max_length=200)]


class Lookup(Body):
    """Which comments somebody wants to know of."""

    ids: Ids


class Counts(Body):
    """Whose visible comments are to be counted: these posts'."""

    post_ids: Ids


class CountsOfPeople(Body):
    """Whose visible comments are to be counted: these people's."""

    person_ids: Ids


class Republish(Body):
    """Send again what was published since then."""

    since: AwareDatetime


def answer(done: Done) -> Response:
    headers = {"Location": done.location} if done.location else {}
    if done.replayed:
        headers["Idempotency-Replayed"] = "true"
    if done.status == 204:
        return Response(status_code=204, headers=headers)
    return json_response(done.representation, done.status, headers)


def routes(db: Database, edit_window: timedelta) -> APIRouter:
    """The internal routes of comments over one database."""
    router = APIRouter(route_class=StrictRoute)
    group = commands.Group(db)

    @router.post("/posts/{post_id}/comments")
    async def post_comment(request: Request, post_id: UUID, body: CreateComment, caller: Gateway) -> Response:
        key = idempotency_key(request, caller)
        return answer(await commands.post_comment(db, caller, post_id, body, key, storing=group.store))

    @router.get("/posts/{post_id}/comments")
    async def comments(
        post_id: UUID, caller: Gateway, sort: queries.Sort = "oldest", cursor: str | None = None, limit: Limit = 50
    ) -> Response:
        return json_response(await queries.comments(db, caller, post_id, sort, cursor, limit))

    @router.get("/comments")
    async def held(caller: Gateway, state: Literal["held"], cursor: str | None = None, limit: Limit = 50) -> Response:
        return json_response(await queries.held(db, caller, cursor, limit))

    @router.get("/comments/{comment_id}")
    async def comment(comment_id: UUID, caller: Gateway) -> Response:
        return json_response(await queries.comment(db, caller, comment_id))

    @router.get("/comments/{comment_id}/replies")
    async def replies(comment_id: UUID, caller: Gateway, cursor: str | None = None, limit: Limit = 50) -> Response:
        return json_response(await queries.replies(db, caller, comment_id, cursor, limit))

    @router.patch("/comments/{comment_id}")
    async def edit_comment(request: Request, comment_id: UUID, body: EditComment, caller: Gateway) -> Response:
        key, if_match = idempotency_key(request, caller), request.headers.get("if-match")
        return answer(await commands.edit_comment(db, caller, comment_id, body, key, if_match, window=edit_window))

    @router.delete("/comments/{comment_id}")
    async def remove_comment(request: Request, comment_id: UUID, caller: Gateway) -> Response:
        key, if_match = idempotency_key(request, caller), request.headers.get("if-match")
        return answer(await commands.remove_comment(db, caller, comment_id, key, if_match))

    def moderation(step: Step) -> None:
        @router.post(f"/comments/{{comment_id}}/{step}", name=step)
        async def moderate_comment(request: Request, comment_id: UUID, caller: Gateway) -> Response:
            key = idempotency_key(request, caller)
            return answer(await commands.moderate_comment(db, caller, comment_id, step, key))

    steps: tuple[Step, ...] = ("hold", "approve", "reject", "restore")
    for step in steps:
        moderation(step)

    @router.post("/counts")
    async def counts(body: Counts, caller: Reader) -> Response:
        return json_response({"counts": await queries.counts(db, body.post_ids)})

    @router.post("/counts/people")
    async def counts_of_people(body: CountsOfPeople, caller: Reader) -> Response:
        return json_response({"counts": await queries.counts_of_people(db, body.person_ids)})

    @router.post("/comments/lookup")
    async def lookup(body: Lookup, caller: Reader) -> Response:
        return json_response({"items": await queries.lookup(db, body.ids)})

    @router.post("/import/comments")
    @body_limit(IMPORT_BYTES)
    async def import_comment(body: ImportComment, caller: Operator) -> Response:
        comment_id, created = await commands.import_comment(db, body)
        return json_response({"id": str(comment_id), "created": created}, 201 if created else 200)

    @router.post("/republish")
    async def republish(body: Republish, caller: Operator) -> Response:
        return json_response({"count": await commands.republish(db, body.since)})

    return router
