"""Routes by which an operator compares what a service owns with what another one knows, and has it stated again."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Protocol
from uuid import UUID

from fastapi import FastAPI
from starlette.responses import Response

from services.chassis.http.routes import allow, json_response
from services.chassis.identity import Caller
from services.contracts.services import KnownRow, RaiseEpoch, ShowRows, StateGone, StateRows

Operator = Annotated[Caller, allow("operator")]
ShowKnown = Callable[[UUID, Sequence[UUID] | None], Awaitable[dict[str, Any]]]


class Owner(Protocol):
    """What a service owns, to be stated; `messaging/stating.py` implements it."""

    async def rows(self, after: UUID, ids: Sequence[UUID] | None) -> dict[str, Any]: ...

    async def state(self, after: UUID) -> dict[str, Any]: ...

    async def state_gone(self, known: Sequence[KnownRow]) -> dict[str, Any]: ...

    async def raise_epoch(self, above: int) -> dict[str, Any]: ...


def add_owner_routes(app: FastAPI, owner: Owner) -> None:
    """Add the routes of a service whose rows others read."""

    @app.post("/stated/rows")
    async def show_rows(body: ShowRows, _: Operator) -> Response:
        return json_response(await owner.rows(body.after, body.ids))

    @app.post("/stated")
    async def state_rows(body: StateRows, _: Operator) -> Response:
        return json_response(await owner.state(body.after))

    @app.post("/stated/gone")
    async def state_gone(body: StateGone, _: Operator) -> Response:
        return json_response(await owner.state_gone(body.rows))

    @app.post("/epoch")
    async def raise_epoch(body: RaiseEpoch, _: Operator) -> Response:
        return json_response(await owner.raise_epoch(body.above))


def add_reader_route(app: FastAPI, known: ShowKnown) -> None:
    """Add the route of a service that keeps a read model."""

    @app.post("/known")
    async def show_known(body: ShowRows, _: Operator) -> Response:
        return json_response(await known(body.after, body.ids))
