"""The internal HTTP API of people's pictures: one route, one command or query."""

import hashlib
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.database.pool import Database
from services.chassis.http.picture_body import read_picture
from services.chassis.http.requests import idempotency_key
from services.chassis.http.routes import allow, body_limit, json_response
from services.chassis.identity import Caller
from services.chassis.pictures.encoder import Encoder
from services.chassis.pictures.kinds import WEBP
from services.contracts.body_sizes import AVATAR_BYTES
from services.people import queries
from services.people.commands import avatar

Gateway = Annotated[Caller, allow("gateway")]


def add_avatar_routes(router: APIRouter, db: Database) -> None:
    """Add the routes to the API of people."""
    encoder = Encoder()

    @router.put("/me/avatar")
    @body_limit(AVATAR_BYTES)
    async def set_avatar(request: Request, caller: Gateway) -> Response:
        data, kind = await read_picture(request, AVATAR_BYTES)
        key = idempotency_key(request, caller, hashlib.sha256(data).hexdigest())
        person, replayed = await avatar.set_avatar(db, encoder, caller.require_person(), data, kind, key)
        return json_response(queries.me(person), headers={"Idempotency-Replayed": "true"} if replayed else None)

    @router.delete("/me/avatar", status_code=204)
    async def delete_avatar(caller: Gateway) -> Response:
        await avatar.delete_avatar(db, caller.require_person())
        return Response(status_code=204)

    @router.get("/avatars/{person_id}")
    async def file_of(person_id: UUID, caller: Gateway) -> Response:
        return Response(await queries.avatar(db, person_id), media_type=WEBP)

    @router.get("/avatars/{person_id}/digest")
    async def digest_of(person_id: UUID, caller: Gateway) -> Response:
        return json_response(await queries.avatar_digest(db, person_id))
