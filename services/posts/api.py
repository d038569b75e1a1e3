"""The internal HTTP API of posts: one route, one command or query."""

import hashlib
from functools import partial
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, FastAPI, Path, Query, Request
from pydantic import BeforeValidator
from starlette.responses import Response

from services.chassis.database.pool import Database
from services.chassis.http.app import create_internal_api
from services.chassis.http.cursors import Limit
from services.chassis.http.monitoring import Ready
from services.chassis.http.partition_routes import PartitionOperator
from services.chassis.http.picture_body import read_picture
from services.chassis.http.requests import idempotency_key
from services.chassis.http.routes import StrictRoute, allow, body_limit, command_response, json_response
from services.chassis.identity import Caller, Verifier
from services.chassis.messaging import outbox
from services.chassis.pictures.encoder import Encoder
from services.chassis.pictures.kinds import WEBP
from services.contracts.body_sizes import IMAGE_BYTES, IMPORT_BYTES, POST_BYTES
from services.contracts.ids import canonical
from services.contracts.posts import (
    CompleteImport,
    CreatePost,
    EditPost,
    FindAddress,
    ImportPost,
    LookUpSlugs,
    LookUpTitles,
    PreviewPost,
)
from services.contracts.services import LookUp, Rerender
from services.contracts.tags import Tag, folded
from services.posts import (
    blanking,
    commands,
    comparing,
    deleting,
    exporting,
    images,
    importing,
    queries,
    rerendering,
    syndication,
)
from services.posts.list_rows import Wanted
from services.posts.stating import stating


def author_or_me(value: object) -> object:
    """Return the id of an author in lower case, or `me`.

    Raises:
        ValueError: it is neither.
    """
    return canonical(value) if isinstance(value, str) and value != "me" else value


Gateway = Annotated[Caller, allow("gateway")]
Operator = Annotated[Caller, allow("operator")]
Notify = Annotated[Caller, allow("notify")]
GatewayOrNotify = Annotated[Caller, allow("gateway", "notify")]
Author = Annotated[Literal["me"] | UUID, BeforeValidator(author_or_me)]
RevisionNumber = Annotated[int, Path(ge=1, lt=2**31)]
OtherRevision = Annotated[int, Query(ge=1, lt=2**31)]


def create_api(db: Database, *, verifier: Verifier, ready: Ready, consumer: PartitionOperator | None = None) -> FastAPI:
    """Return the internal API of posts over one database.

    Args:
        consumer: the partitions of the service's consumer group, for operators.
    """
    router, encoder = APIRouter(route_class=StrictRoute), Encoder()

    @router.post("/posts")
    @body_limit(POST_BYTES)
    async def create_post(request: Request, body: CreatePost, caller: Gateway) -> Response:
        return command_response(await commands.create_post(db, caller, body, idempotency_key(request, caller)))

    @router.get("/posts")
    async def posts(
        caller: Gateway,
        status: queries.Status = "published",
        kind: Literal["post", "page"] = "post",
        tag: Tag | None = None,
        author: Author | None = None,
        cursor: str | None = None,
        limit: Limit = 50,
    ) -> Response:
        author_id = caller.require_person() if author == "me" else author
        wanted = Wanted(kind, author_id, None if tag is None else folded(tag))
        if status == "published":
            return json_response(await queries.published_posts(db, cursor, limit, wanted))
        return json_response(await queries.unpublished_posts(db, caller, status, cursor, limit, wanted))

    @router.get("/tags")
    async def tags(_: Gateway, cursor: str | None = None, limit: Limit = 50) -> Response:
        return json_response(await queries.tags(db, cursor, limit))

    @router.post("/preview")
    @body_limit(POST_BYTES)
    async def preview(body: PreviewPost, caller: Gateway) -> Response:
        return json_response({"body_html": await rerendering.preview(caller, body)})

    @router.post("/posts/lookup")
    async def look_up(body: LookUp, caller: GatewayOrNotify) -> Response:
        return json_response({"items": await queries.look_up(db, body.ids)})

    @router.post("/posts/titles/lookup")
    async def look_up_titles(body: LookUpTitles, caller: Notify) -> Response:
        asked = [(one.id, one.revision) for one in body.revisions]
        return json_response({"items": await queries.look_up_titles(db, asked)})

    @router.post("/posts/texts/lookup")
    async def look_up_texts(body: LookUp, _: Gateway) -> Response:
        return json_response({"items": await syndication.look_up_texts(db, body.ids)})

    @router.post("/posts/slugs/lookup")
    async def look_up_slugs(body: LookUpSlugs, _: Gateway) -> Response:
        return json_response({"ids": await queries.ids_of_slugs(db, body.slugs)})

    @router.get("/months")
    async def months(_: Gateway) -> Response:
        return json_response({"items": await syndication.months(db)})

    @router.get("/months/{month}")
    async def addresses(month: str, _: Gateway) -> Response:
        return json_response({"items": await syndication.addresses(db, month)})

    @router.get("/authors")
    async def authors(_: Gateway) -> Response:
        return json_response({"items": await syndication.authors(db)})

    @router.post("/addresses/lookup")
    async def post_of_address(body: FindAddress, caller: Gateway) -> Response:
        return json_response(await queries.post_of_address(db, caller, body.address))

    @router.get("/posts/{reference}")
    async def post(reference: str, caller: Gateway) -> Response:
        return json_response(await queries.post(db, caller, reference))

    @router.patch("/posts/{post_id}")
    @body_limit(POST_BYTES)
    async def edit_post(request: Request, post_id: UUID, body: EditPost, caller: Gateway) -> Response:
        key, if_match = idempotency_key(request, caller), request.headers.get("if-match")
        return command_response(await commands.edit_post(db, caller, post_id, body, key, if_match))

    @router.delete("/posts/{post_id}")
    async def delete_draft(request: Request, post_id: UUID, caller: Gateway) -> Response:
        key, if_match = idempotency_key(request, caller), request.headers.get("if-match")
        return command_response(await deleting.delete_draft(db, caller, post_id, key, if_match))

    @router.post("/posts/{post_id}/publish")
    async def publish_post(request: Request, post_id: UUID, caller: Gateway) -> Response:
        return command_response(await commands.publish_post(db, caller, post_id, idempotency_key(request, caller)))

    @router.post("/posts/{post_id}/withdraw")
    async def withdraw_post(request: Request, post_id: UUID, caller: Gateway) -> Response:
        return command_response(await commands.withdraw_post(db, caller, post_id, idempotency_key(request, caller)))

    @router.get("/posts/{post_id}/revisions")
    async def revisions(post_id: UUID, caller: Gateway, cursor: str | None = None, limit: Limit = 50) -> Response:
        return json_response(await queries.revisions(db, caller, post_id, cursor, limit))

    @router.get("/posts/{post_id}/revision-notes")
    async def revision_notes(post_id: UUID, caller: Gateway, cursor: str | None = None, limit: Limit = 50) -> Response:
        return json_response(await queries.revision_notes(db, caller, post_id, cursor, limit))

    @router.get("/me/export/posts")
    async def export_posts(caller: Gateway, cursor: str | None = None) -> Response:
        return json_response(await exporting.export_posts(db, caller.require_person(), cursor))

    @router.get("/me/export/revisions")
    async def export_revisions(caller: Gateway, cursor: str | None = None) -> Response:
        return json_response(await exporting.export_revisions(db, caller.require_person(), cursor))

    @router.get("/me/export/images")
    async def export_images(caller: Gateway, cursor: str | None = None) -> Response:
        return json_response(await exporting.export_images(db, caller.require_person(), cursor))

    @router.post("/images")
    @body_limit(IMAGE_BYTES)
    async def add_image(request: Request, caller: Gateway) -> Response:
        data, kind = await read_picture(request, IMAGE_BYTES)
        key = idempotency_key(request, caller, hashlib.sha256(data).hexdigest())
        return command_response(await images.add_image(db, encoder, caller, data, kind, key))

    @router.get("/images/{image_id}")
    async def image(image_id: UUID, _: Gateway) -> Response:
        return Response(await images.content(db, image_id), media_type=WEBP)

    @router.get("/images/{image_id}/size")
    async def image_size(image_id: UUID, _: Gateway) -> Response:
        return json_response(await images.size(db, image_id))

    @router.get("/posts/{post_id}/revisions/{number}")
    async def revision(
        post_id: UUID, number: RevisionNumber, caller: Gateway, against: OtherRevision | None = None
    ) -> Response:
        if against is not None:
            return json_response(await comparing.compared(db, caller, post_id, number, against))
        return json_response(await queries.revision(db, caller, post_id, number))

    @router.delete("/posts/{post_id}/revisions/{number}")
    async def blank_revision(request: Request, post_id: UUID, number: RevisionNumber, caller: Gateway) -> Response:
        key = idempotency_key(request, caller)
        return command_response(await blanking.blank_revision(db, caller, post_id, number, key))

    @router.post("/import/posts")
    @body_limit(IMPORT_BYTES)
    async def import_post(body: ImportPost, caller: Operator) -> Response:
        post_id, created = await importing.import_post(db, body)
        [found] = await queries.look_up(db, [post_id])
        answer = {"id": str(post_id), "created": created, "slug": found["slug"], "status": found["status"]}
        return json_response(answer, 201 if created else 200)

    @router.post("/import/texts")
    @body_limit(IMPORT_BYTES)
    async def complete_import(body: CompleteImport, _: Operator) -> Response:
        return json_response({"changed": await rerendering.complete_import(db, body)})

    @router.post("/rerender")
    async def rerender_posts(body: Rerender, _: Operator) -> Response:
        return json_response(await rerendering.rerender_posts(db, body.after))

    return create_internal_api(
        "posts",
        router,
        verifier=verifier,
        ready=ready,
        republish=partial(outbox.republish, db),
        owner=stating(db),
        known=partial(queries.known_people, db),
        consumer=consumer,
    )
