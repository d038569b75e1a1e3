"""The HTTP server: uvicorn in the event loop of the process, with a protocol that limits clients."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from functools import partial
from typing import Any

import structlog
import uvicorn

from services.chassis.http.access_log import AccessLog
from services.chassis.http.client_networks import Networks
from services.chassis.http.connection_shares import NO_NETWORKS, ConnectionShares
from services.chassis.http.ready_answers import FindReady
from services.chassis.http.shared_protocol import SharedHttpProtocol
from services.chassis.runtime.process import Role

log = structlog.get_logger(__name__)

KEEP_ALIVE_SECONDS = 75  # longer than our clients keep an idle connection, so that none is closed under a request


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # `process.run` handles signals


def serve(
    app: Any,
    host: str,
    port: int,
    *,
    drain_seconds: float,
    name: str = "api",
    stops_last: bool = False,
    public: bool = False,
    proxies: Networks = NO_NETWORKS,
    find_ready: FindReady | None = None,
    access_log: AccessLog | None = None,
) -> Role:
    """Return a role that serves an ASGI app until it is stopped; requests in progress are finished first.

    Args:
        public: whether each network has only a share of the connections.
        proxies: networks that have as many as they need.
        find_ready: finds answers of the app that are ready as bytes, and sent without calling it.
        access_log: gets a line for each request.

    Raises (when run):
        OSError: the port is in use.
    """

    served, found = app, find_ready
    if access_log is not None:
        served, found = access_log.around_app(app), find_ready and access_log.around_ready(find_ready)

    async def run(stop: asyncio.Event) -> None:
        listening = listen(host, port)
        shares = ConnectionShares(asyncio.get_running_loop().time, limited=public, exempt=proxies)
        config = uvicorn.Config(
            served,
            http=partial(SharedHttpProtocol, shares=shares, find_ready=found),  # type: ignore[arg-type]  # only called
            ws="none",
            loop="none",
            lifespan="auto",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=max(1, int(drain_seconds * 2 / 3)),
        )
        server = _Server(config)
        serving = asyncio.create_task(_serve(server, listening))
        stopping = asyncio.create_task(stop.wait())
        log.info("serving", role=name, host=host, port=listening.getsockname()[1])
        try:
            await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
            server.should_exit = True
            await serving
        finally:
            stopping.cancel()
            listening.close()
            if access_log is not None:
                access_log.flush()

    return Role(name, run, stops_last=stops_last, app=app)


async def _serve(server: uvicorn.Server, listening: socket.socket) -> None:
    try:
        await server.serve(sockets=[listening])
    except SystemExit as error:
        raise RuntimeError("the application did not start") from error


def listen(host: str, port: int) -> socket.socket:
    """Return a bound socket; port 0 takes any free port.

    Raises:
        OSError: the address is in use; the message names it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise OSError(error.errno, f"cannot listen on {host} port {port}: {error.strerror}") from None
    bound.setblocking(False)
    return bound
