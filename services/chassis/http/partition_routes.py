"""Internal routes for operators: the partitions of a service's consumer group."""

from typing import Annotated, Any, Protocol

from fastapi import FastAPI
from starlette.responses import Response

from services.chassis.http.routes import allow, json_response
from services.chassis.identity import Caller
from services.contracts.services import ChoosePartitions, SkipRecords

Operator = Annotated[Caller, allow("operator")]


class PartitionOperator(Protocol):
    """What a service can do with the partitions of its group; see `messaging.partition_operations`."""

    async def status(self) -> dict[str, Any]: ...

    async def pause(self, topic: str | None, partition: int | None, *, dry_run: bool) -> list[dict[str, Any]]: ...

    async def resume(self, topic: str | None, partition: int | None, *, dry_run: bool) -> list[dict[str, Any]]: ...

    async def skip(self, topic: str, partition: int, first: int, last: int, *, dry_run: bool) -> None: ...


def add_partition_routes(app: FastAPI, group: PartitionOperator) -> None:
    """Add the routes over one group. Each may be repeated."""

    @app.get("/consumer")
    async def status(_: Operator) -> Response:
        return json_response(await group.status())

    @app.post("/consumer/pause")
    async def pause(body: ChoosePartitions, _: Operator) -> Response:
        return json_response({"partitions": await group.pause(body.topic, body.partition, dry_run=body.dry_run)})

    @app.post("/consumer/resume")
    async def resume(body: ChoosePartitions, _: Operator) -> Response:
        return json_response({"partitions": await group.resume(body.topic, body.partition, dry_run=body.dry_run)})

    @app.post("/consumer/skip")
    async def skip(body: SkipRecords, _: Operator) -> Response:
        await group.skip(body.topic, body.partition, body.first, body.last, dry_run=body.dry_run)
        return json_response({"count": body.last - body.first + 1})
