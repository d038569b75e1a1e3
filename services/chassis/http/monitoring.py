"""Health checks and metrics: `/livez`, `/readyz` and `/metrics`, on a port that is never public and needs no token."""

from collections.abc import Awaitable, Callable, Mapping

from prometheus_client import make_asgi_app
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from services.chassis.errors import not_found
from services.chassis.http.problems import render
from services.chassis.http.routes import json_response
from services.chassis.http.server import serve
from services.chassis.runtime.context import service
from services.chassis.runtime.metrics import Shown
from services.chassis.runtime.process import Role

Ready = Callable[[], Awaitable[Mapping[str, bool]]]


async def liveness() -> Response:
    """Return 200: the event loop runs."""
    return json_response({"status": "ok"})


async def readiness(ready: Ready) -> Response:
    """Return which dependencies of the process work: 200 if all do, else 503."""
    parts = dict(await ready())
    ok = all(parts.values())
    return json_response({"status": "ok" if ok else "not ready", "parts": parts}, 200 if ok else 503)


def monitoring_app(ready: Ready) -> ASGIApp:
    """Return the app of the monitoring port of the service whose work is being done."""
    metrics = make_asgi_app(Shown(service()))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        match scope["path"]:
            case "/metrics":
                await metrics(scope, receive, send)
            case "/livez":
                await (await liveness())(scope, receive, send)
            case "/readyz":
                await (await readiness(ready))(scope, receive, send)
            case _:
                await render(not_found())(scope, receive, send)

    return app


def monitoring(ready: Ready, host: str, port: int) -> Role:
    """Return the role that serves the monitoring port until every other role has ended."""
    return serve(monitoring_app(ready), host, port, drain_seconds=1, name="monitoring", stops_last=True)
