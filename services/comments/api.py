"""HTTP to command or query."""

from collections.abc import Collection
from datetime import timedelta
from functools import partial
from typing import Annotated, get_args
from uuid import UUID

from fastapi import APIRouter, FastAPI, Query, Request
from starlette.responses import Response

from services.chassis.database.pool import Database
from services.chassis.errors import Problem
from services.chassis.http.app import create_internal_api
from services.chassis.http.cursors import Limit
from services.chassis.http.monitoring import Ready
from services.chassis.http.partition_routes import PartitionOperator
from services.chassis.http.requests import idempotency_key
from services.chassis.http.routes import StrictRoute, allow, body_limit, command_response, json_response
from services.chassis.identity import Caller, Verifier
from services.chassis.messaging import outbox
from services.comments import exporting, queries
from services.comments.commands import editing, importing, moderating, posting, rerendering, stating
from services.comments.domain.comment import Step
from services.comments.listing import ListedState
from services.contracts.body_sizes import BATCH_BYTES, IMPORT_BYTES
from services.contracts.comments import (
    CommentBatch,
    CountByPerson,
    CountByPost,
    CreateComment,
    EditComment,
    ImportComment,
    PreviewComment,
)
from services.contracts.services import ON_BEHALF, LookUp, Rerender

Gateway = Annotated[Caller, allow("gateway")]
Operator = Annotated[Caller, allow("operator")]
GatewayOrNotify = Annotated[Caller, allow("gateway", "notify")]
PageNumber = Annotated[int | None, Query(ge=1, le=1_000_000)]


def create_api(
    db: Database,
    edit_window: timedelta,
    *,
    verifier: Verifier,
    ready: Ready,
    picture_hosts: Collection[str] = (),
    consumer: PartitionOperator | None = None,
) -> FastAPI:
    """Return the internal API of comments over one database."""
    router = APIRouter(route_class=StrictRoute)
    queue = posting.PostingQueue(db, picture_hosts)
    for_editors = {"edit_window_seconds": edit_window.total_seconds()}

    @router.post("/posts/{post_id}/comments")
    async def post_comment(request: Request, post_id: UUID, body: CreateComment, caller: Gateway) -> Response:
        key = idempotency_key(request, caller)
        return command_response(await posting.post_comment(queue, caller, post_id, body, key))

    @router.post("/comments/batch")
    @body_limit(BATCH_BYTES)
    async def post_batch(body: CommentBatch, caller: Gateway) -> Response:
        if ON_BEHALF not in caller.roles:
            raise Problem("forbidden")
        return json_response({"items": await posting.post_batch(queue, body.items)})

    @router.get("/posts/{post_id}/comments")
    async def comments(
        post_id: UUID,
        caller: Gateway,
        sort: queries.Sort = "oldest",
        cursor: str | None = None,
        limit: Limit = 50,
        page: PageNumber = None,
    ) -> Response:
        if page is None:
            return json_response(await queries.comments(db, caller, post_id, sort, cursor, limit))
        found = await queries.numbered(db, caller, post_id, sort, cursor, limit, page)
        return json_response(found | for_editors)

    @router.get("/posts/{post_id}/newest")
    async def newest(post_id: UUID, caller: Gateway, limit: Limit = 50) -> Response:
        return json_response(await queries.newest(db, caller, post_id, limit))

    @router.get("/posts/{post_id}/own")
    async def own_below(post_id: UUID, caller: Gateway) -> Response:
        return json_response({"texts": await queries.own_below(db, caller, post_id)})

    @router.get("/posts/{post_id}/version")
    async def version_of_post(post_id: UUID, caller: Gateway) -> Response:
        return json_response(await queries.version_of_post(db, post_id))

    @router.get("/comments")
    async def by_state(caller: Gateway, state: ListedState, cursor: str | None = None, limit: Limit = 50) -> Response:
        return json_response(await queries.by_state(db, caller, state, cursor, limit))

    @router.get("/me/comments")
    async def own_comments(caller: Gateway, cursor: str | None = None, limit: Limit = 50) -> Response:
        return json_response(await queries.own_comments(db, caller, cursor, limit))

    @router.get("/me/export/comments")
    async def export_comments(caller: Gateway, cursor: str | None = None) -> Response:
        return json_response(await exporting.export_comments(db, caller.require_person(), cursor))

    @router.get("/comments/waiting")
    async def waiting(_: GatewayOrNotify) -> Response:
        return json_response({"waiting": await queries.waiting(db)})

    @router.post("/comments/lookup")
    async def look_up(body: LookUp, caller: GatewayOrNotify) -> Response:
        return json_response({"items": await queries.look_up(db, body.ids)})

    @router.get("/comments/{comment_id}")
    async def comment(comment_id: UUID, caller: Gateway) -> Response:
        return json_response(await queries.comment(db, caller, comment_id))

    @router.get("/comments/{comment_id}/replies")
    async def replies(comment_id: UUID, caller: Gateway, cursor: str | None = None, limit: Limit = 50) -> Response:
        return json_response(await queries.replies(db, caller, comment_id, cursor, limit))

    @router.get("/comments/{comment_id}/context")
    async def context(comment_id: UUID, caller: Gateway, cursor: str | None = None) -> Response:
        return json_response(await queries.with_context(db, caller, comment_id, cursor) | for_editors)

    @router.patch("/comments/{comment_id}")
    async def edit_comment(request: Request, comment_id: UUID, body: EditComment, caller: Gateway) -> Response:
        key, if_match = idempotency_key(request, caller), request.headers.get("if-match")
        result = await editing.edit_comment(
            db, caller, comment_id, body, key, if_match, window=edit_window, picture_hosts=picture_hosts
        )
        return command_response(result)

    @router.delete("/comments/{comment_id}")
    async def remove_comment(request: Request, comment_id: UUID, caller: Gateway) -> Response:
        key, if_match = idempotency_key(request, caller), request.headers.get("if-match")
        return command_response(await moderating.remove_comment(db, caller, comment_id, key, if_match))

    def add_moderation(step: Step) -> None:
        @router.post(f"/comments/{{comment_id}}/{step}", name=step)
        async def moderate_comment(request: Request, comment_id: UUID, caller: Gateway) -> Response:
            key = idempotency_key(request, caller)
            return command_response(await moderating.moderate_comment(db, caller, comment_id, step, key))

    for step in get_args(Step):
        add_moderation(step)

    @router.post("/preview")
    async def preview(body: PreviewComment, caller: Gateway) -> Response:
        return json_response({"body_html": await rerendering.preview(caller, body, picture_hosts)})

    @router.post("/counts")
    async def counts(body: CountByPost, caller: Gateway) -> Response:
        return json_response({"counts": await queries.counts(db, body.post_ids)})

    @router.post("/counts/people")
    async def counts_of_people(body: CountByPerson, caller: Gateway) -> Response:
        return json_response({"counts": await queries.counts_of_people(db, body.person_ids)})

    @router.get("/people/{person_id}/counts")
    async def counts_by_state(person_id: UUID, _: Operator) -> Response:
        return json_response({"counts": await queries.counts_by_state(db, person_id)})

    @router.post("/import/comments")
    @body_limit(IMPORT_BYTES)
    async def import_comment(body: ImportComment, caller: Operator) -> Response:
        comment_id, created = await importing.import_comment(db, body, picture_hosts=picture_hosts)
        return json_response({"id": str(comment_id), "created": created}, 201 if created else 200)

    @router.post("/rerender")
    async def rerender_comments(body: Rerender, _: Operator) -> Response:
        return json_response(await rerendering.rerender_comments(db, body.after, picture_hosts))

    return create_internal_api(
        "comments",
        router,
        verifier=verifier,
        ready=ready,
        republish=partial(outbox.republish, db),
        consumer=consumer,
        owner=stating.stating(db),
        known=partial(queries.known_posts, db),
    )
