"""Internals of libraries that we use: each exists with the shape we rely on.

pyproject.toml caps these libraries below their next minor (0.x) or major version. A test that fails after a cap was
raised says which of our modules no longer works.
"""

import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import aiosmtplib
import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import ApiVersionRequest, ApiVersionRequest_v0, CreateAclsRequest_v1
from fastapi import APIRouter, Depends, FastAPI, Query, params
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.datastructures import QueryParams
from starlette.requests import Request
from uvicorn import Server


@contextmanager
def needed_by(module: str, effect: str) -> Iterator[None]:
    """Say in every failure of the block which module needs the internals, and what fails without them."""
    try:
        yield
    except Exception as error:
        raise AssertionError(f"services/{module}: {effect}. {error!r}") from error


def parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


async def test_aiokafka() -> None:
    producer = AIOKafkaProducer(bootstrap_servers="127.0.0.1:1")
    consumer = AIOKafkaConsumer(bootstrap_servers="127.0.0.1:1")
    with needed_by("chassis/messaging/producer.py (_close)", "a stuck client cannot be closed within its time"):
        assert parameters(producer._message_accumulator.fail_all) == ["exception"]
        assert producer._sender.sender_task is None
        assert inspect.iscoroutinefunction(producer.client.close)
    with needed_by("chassis/messaging/producer.py (_pack)", "batches and their partitions cannot be chosen"):
        from aiokafka.partitioner import DefaultPartitioner
        from aiokafka.producer.message_accumulator import BatchBuilder

        assert parameters(BatchBuilder.append) == ["self", "timestamp", "key", "value", "headers"]
        assert DefaultPartitioner()(b"key", [0, 1, 2], [0, 1, 2]) in (0, 1, 2)
    with needed_by("chassis/messaging/consumer.py (_close)", "a stuck client keeps its connections"):
        assert inspect.iscoroutinefunction(consumer._client.close)
    with needed_by("chassis/messaging/consumer.py (_close)", "a stopped consumer keeps its partitions for 10 s"):
        from aiokafka.consumer.group_coordinator import GroupCoordinator

        leaving = inspect.getsource(GroupCoordinator._maybe_leave_group)
        assert "if self.generation > 0 and self._group_instance_id is None:" in leaving
        assert "LeaveGroupRequest(self.group_id, self.member_id)" in leaving
        assert "await self._maybe_leave_group()" in inspect.getsource(GroupCoordinator.close)
        assert "self._coordinator.close()" in inspect.getsource(AIOKafkaConsumer.stop)
    with needed_by("chassis/messaging/broker_rights.py (grant)", "the broker's access control lists cannot be made"):
        assert parameters(AIOKafkaAdminClient._send_to_controller) == ["self", "request"]
        assert CreateAclsRequest_v1([(2, "posts.events", 3, "User:posts", "*", 4, 3)]).API_KEY == 30
    with needed_by("operator/doctor/broker.py (_version)", "the broker's version cannot be told"):
        assert parameters(AIOKafkaAdminClient._send_request)[:2] == ["self", "request"]
        assert ApiVersionRequest().build(ApiVersionRequest_v0).API_KEY == 18
    await producer.stop()
    await consumer.stop()


async def test_starlette() -> None:
    async def receive() -> Any:
        raise AssertionError("the stored body was not used")

    request = Request({"type": "http", "method": "POST", "path": "/", "headers": []}, receive)
    with needed_by(
        "chassis/http/requests.py (read_body)", "the endpoint cannot read a body after its size was checked"
    ):
        assert not hasattr(request, "_body")
        request._body = b'{"a": 1}'
        assert await request.body() == b'{"a": 1}'
    with needed_by("chassis/http/routes.py (read_json)", "FastAPI parses the body again, and not strictly"):
        assert not hasattr(request, "_json")
        request._json = {"b": 2}
        assert await request.json() == {"b": 2}
    with needed_by("chassis/http/fast_path.py (RouteTable)", "paths cannot be matched"):
        from starlette.routing import compile_path

        pattern, _, convertors = compile_path("/things/{thing_id}")
        match = pattern.match("/things/7")
        assert match is not None
        assert convertors["thing_id"].convert(match["thing_id"]) == "7"


def current_person() -> str:
    return "ann"


class Thing(BaseModel):
    size: int


async def change_thing(
    request: Request,
    thing_id: int,
    thing: Thing,
    person: Annotated[str, Depends(current_person)],
    limit: Annotated[int, Query(ge=1)] = 5,
) -> None: ...


def test_fastapi() -> None:
    route = APIRoute("/things/{thing_id}", change_thing, methods=["POST"])
    with needed_by("chassis/http/direct_call.py", "endpoints cannot be called directly"):
        from fastapi.dependencies.utils import request_params_to_args

        dependant = route.dependant
        [path], [body], [query] = dependant.path_params, dependant.body_params, dependant.query_params
        assert (path.name, path.alias, body.name, query.name) == ("thing_id", "thing_id", "thing", "limit")
        assert [(inner.name, inner.call) for inner in dependant.dependencies] == [("person", current_person)]
        assert dependant.request_param_name == "request"
        assert dependant.header_params == dependant.cookie_params == []
        for name in ("response", "background_tasks", "http_connection", "security_scopes", "websocket"):
            assert getattr(dependant, f"{name}_param_name") is None
        assert route._embed_body_fields is False
        assert route.body_field is not None
        assert body.field_info.is_required()
        assert not isinstance(body.field_info, params.Form)
        assert path.validate("7", {}, loc=("path", "thing_id")) == (7, [])
        assert path.validate("x", {}, loc=("path", "thing_id"))[1][0]["loc"] == ("path", "thing_id")
        assert request_params_to_args([query], QueryParams("limit=3")) == ({"limit": 3}, [])
        assert request_params_to_args([query], QueryParams("limit=0"))[1][0]["loc"] == ("query", "limit")
    with needed_by("chassis/http/fast_path.py (RouteTable)", "routes of included routers are not found"):
        from fastapi.routing import iter_route_contexts

        app, router = FastAPI(), APIRouter(prefix="/things")
        router.add_api_route("/{thing_id}", change_thing, methods=["POST"])
        app.include_router(router, prefix="/v1")
        [context] = [found for found in iter_route_contexts(app.routes) if found.path == "/v1/things/{thing_id}"]
        assert context.original_route is router.routes[0]
        assert context.methods == {"POST"}
        assert not context.dependencies


def test_uvicorn() -> None:
    with needed_by("chassis/http/protocol.py (LimitedHttpProtocol)", "clients cannot be limited, nor refused"):
        from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

        for name in (
            *("connection_made", "connection_lost", "data_received", "pause_writing", "resume_writing"),
            *("on_message_begin", "on_header", "on_headers_complete", "on_body", "on_message_complete"),
            *("on_response_complete", "_unset_keepalive_if_required", "timeout_keep_alive_handler"),
        ):
            assert name in vars(HttpToolsProtocol)
        assert "send_400_response" in HttpToolsProtocol.data_received.__code__.co_names
        assert "_unsupported_upgrade_warning" in HttpToolsProtocol.data_received.__code__.co_names
        assert {"connections", "transport", "loop", "flow", "pipeline", "cycle", "headers", "parser", "client"} <= set(
            HttpToolsProtocol.__init__.__code__.co_names
        )
        assert "timeout_keep_alive_task" in HttpToolsProtocol.on_response_complete.__code__.co_names
        assert {"disconnected", "waiting_for_100_continue", "message_event", "response_started", "on_response"} <= set(
            RequestResponseCycle.__init__.__code__.co_names
        )
        called = set(re.findall(r"self\.transport\.(\w+)", inspect.getsource(RequestResponseCycle)))
        assert called == {"write", "close", "is_closing"}
        assert STATUS_LINE[431].startswith(b"HTTP/1.1 431 ")
    with needed_by("chassis/http/server.py (_Server)", "uvicorn handles the signals of the process"):
        assert parameters(Server.capture_signals) == ["self"]
        assert "capture_signals" in Server.serve.__code__.co_names


def test_aiosmtplib() -> None:
    with needed_by("chassis/mail/smtp_dialogue.py", "the message and its final dot cannot be sent separately"):
        from aiosmtplib.protocol import SMTPProtocol

        assert aiosmtplib.SMTP(hostname="127.0.0.1").protocol is None
        assert parameters(SMTPProtocol.write) == ["self", "data"]
        assert parameters(SMTPProtocol.execute_command) == ["self", "args", "timeout"]
        assert inspect.iscoroutinefunction(SMTPProtocol.execute_command)


def test_asyncpg() -> None:
    with needed_by("chassis/database/pool.py (Connection)", "each use of a connection costs another round trip"):
        assert parameters(asyncpg.Connection.get_reset_query) == ["self"]
        assert "get_reset_query" in asyncpg.Connection.reset.__code__.co_names
