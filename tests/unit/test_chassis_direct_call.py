"""Endpoints called directly return the same responses as through FastAPI."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

import pytest
from fastapi import APIRouter, Body, Depends, FastAPI, Form, Query
from starlette.requests import Request
from starlette.responses import Response
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from services.chassis.errors import Problem
from services.chassis.http import fast_path, routes
from services.chassis.http.app import create_app
from services.chassis.http.direct_call import is_callable_directly
from services.chassis.http.guards import Guard
from services.chassis.http.routes import StrictRoute, json_response
from services.contracts import text

THING = UUID("01a20750-d252-70bc-80aa-c6a200675e56")


class NameGuard(Guard[str]):
    """Admits requests with an `X-Name`."""

    async def admit(self, request: Request) -> str:
        name = request.headers.get("x-name")
        if name is None:
            raise Problem("sign-in-required")
        return name


Name = Annotated[str, Depends(NameGuard())]


class Thing(text.Body):
    size: int
    other: UUID | None = None


router = APIRouter(prefix="/things", route_class=StrictRoute)


@router.post("/{thing}/parts/{part}")
async def post_part(request: Request, thing: UUID, part: int, body: Thing, name: Name) -> Response:
    return json_response(
        {"thing": thing, "part": part, "body": body.model_dump(), "name": name, "at": request.url.path}
    )


@router.get("/first")
async def first() -> Response:
    return json_response({"which": "first"})


@router.get("/{thing}")
async def one(thing: str, name: Name) -> Response:
    if thing == "broken":
        raise RuntimeError("broken")
    return json_response({"which": thing, "name": name}, 202, {"X-More": "yes"})


@router.get("/{thing}/list")
async def listed(
    thing: UUID, kind: Literal["a", "b"], limit: Annotated[int, Query(ge=1)] = 5, cursor: str | None = None
) -> Response:
    return json_response({"thing": thing, "kind": kind, "limit": limit, "cursor": cursor})


@router.post("/made")
async def made(body: Thing) -> dict[str, int]:
    return {"size": body.size}


@router.post("/optional")
async def optional(body: Thing | None = None) -> Response:
    return json_response({"given": body is not None})


@router.post("/two")
async def two(size: Annotated[int, Body()], other: Annotated[int, Body()]) -> Response:
    return json_response({"sum": size + other})


@router.post("/form")
async def form(size: Annotated[int, Form()]) -> Response:
    return json_response({"size": size})


DIRECT = {"/things/{thing}/parts/{part}", "/things/first", "/things/{thing}", "/things/{thing}/list"}


async def ready() -> dict[str, bool]:
    return {}


def build_app() -> FastAPI:
    app = create_app("things", verifier=None, ready=ready)
    again = APIRouter(prefix="/things", route_class=StrictRoute)
    for route in router.routes:
        assert isinstance(route, StrictRoute)
        again.add_api_route(route.path.removeprefix("/things"), route.endpoint, methods=sorted(route.methods or ()))
    app.include_router(again)
    return app


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[TestClient, TestClient]]:
    """Return clients of the same app, with endpoints called directly and with none."""
    direct = TestClient(build_app(), raise_server_exceptions=False)
    direct.get("/livez")
    for module in (fast_path, routes):
        monkeypatch.setattr(module, "is_callable_directly", lambda _: False)
    fastapi = TestClient(build_app(), raise_server_exceptions=False)
    fastapi.get("/livez")
    yield direct, fastapi


def test_endpoints_without_special_parameters_are_called_directly() -> None:
    found = {route.path for route in router.routes if isinstance(route, StrictRoute) and is_callable_directly(route)}
    assert found == DIRECT


GOOD: dict[str, Any] = {"size": 3, "other": str(uuid4())}
ANA = {"X-Name": "Ana"}
PART = f"/things/{THING}/parts/7"
REQUESTS: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", PART, {"json": GOOD, "headers": ANA}),
    ("POST", PART, {"json": GOOD}),
    ("POST", PART, {"json": {"size": "many", "other": "none"}, "headers": ANA}),
    ("POST", PART, {"json": {}, "headers": ANA}),
    ("POST", PART, {"json": [1], "headers": ANA}),
    ("POST", PART, {"json": None, "headers": ANA}),
    ("POST", PART, {"content": b"null", "headers": ANA | {"Content-Type": "application/json"}}),
    ("POST", PART, {"content": b"{", "headers": ANA | {"Content-Type": "application/json"}}),
    ("POST", PART, {"content": b"size=3", "headers": ANA}),
    ("POST", "/things/none/parts/7", {"json": GOOD, "headers": ANA}),
    ("POST", f"/things/{THING}/parts/seven", {"json": {"size": "many"}, "headers": ANA}),
    ("GET", PART, {"headers": ANA}),
    ("GET", "/things/first", {}),
    ("GET", "/things/second", {"headers": ANA}),
    ("GET", "/things/sec%20ond", {"headers": ANA}),
    ("GET", "/things/second/", {"headers": ANA}),
    ("HEAD", "/things/second", {"headers": ANA}),
    ("GET", "/things/second", {}),
    ("GET", "/things/broken", {"headers": ANA}),
    ("DELETE", "/things/second", {"headers": ANA}),
    ("GET", f"/things/{THING}/list", {"params": {"kind": "a", "limit": 2}}),
    ("GET", f"/things/{THING}/list", {"params": {"kind": "a", "limit": 0, "cursor": ""}}),
    ("GET", f"/things/{THING}/list", {"params": {"kind": "c", "limit": ""}}),
    ("GET", f"/things/{THING}/list", {"params": {"limit": 2, "other": 3}}),
    ("GET", f"/things/{THING}/list?kind=a&kind=b&cursor=%C3%A4%20b&limit=1", {}),
    ("GET", "/things/none/list?kind=c", {}),
    ("POST", "/things/made", {"json": GOOD}),
    ("POST", "/things/optional", {}),
    ("POST", "/things/optional", {"json": GOOD}),
    ("POST", "/things/two", {"json": {"size": 1, "other": 2}}),
    ("POST", "/things/form", {"data": {"size": "5"}}),
    ("GET", "/nothing", {}),
]


@pytest.mark.parametrize(("method", "path", "options"), REQUESTS)
def test_direct_and_fastapi_responses_are_equal(
    both: tuple[TestClient, TestClient], method: str, path: str, options: dict[str, Any]
) -> None:
    direct, fastapi = (client.request(method, path, **options) for client in both)
    assert direct.status_code == fastapi.status_code
    different = {"x-request-id", "content-length"}
    assert {k: v for k, v in direct.headers.items() if k not in different} == {
        k: v for k, v in fastapi.headers.items() if k not in different
    }
    if method != "HEAD" and "problem" in direct.headers["content-type"]:
        for response in (direct, fastapi):
            assert response.json()["instance"] == response.headers["x-request-id"]
        fields = [[error["field"] for error in response.json().get("errors", ())] for response in (direct, fastapi)]
        assert (direct.json()["type"], fields[0]) == (fastapi.json()["type"], fields[1])
    else:
        assert direct.content == fastapi.content


def test_direct_calls_bypass_the_middleware_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    app = build_app()
    client = TestClient(app)
    assert client.post("/things/optional").json() == {"given": False}
    paths: list[str] = []

    async def stack(scope: Scope, receive: Receive, send: Send) -> None:
        paths.append(scope["path"])
        await Response(status_code=418)(scope, receive, send)

    monkeypatch.setattr(app, "middleware_stack", stack)
    assert client.get("/things/first").json() == {"which": "first"}
    assert client.post("/things/optional").status_code == 418
    assert paths == ["/things/optional"]
