"""Composition root of the gateway: `python -m services.gateway api|all`."""

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from functools import partial

from services.chassis.client.connection_pool import ConnectionPool, Transport
from services.chassis.http.access_log import AccessLog
from services.chassis.http.monitoring import monitoring
from services.chassis.http.server import serve
from services.chassis.messaging.lag import LagMeter
from services.chassis.runtime import process
from services.chassis.runtime.process import Health, Role
from services.chassis.runtime.settings import load
from services.chassis.runtime.waiting import Periodic
from services.contracts.topics import SUBSCRIPTIONS
from services.gateway.app import create_app
from services.gateway.caching.invalidation import InvalidationReader
from services.gateway.composition.upstreams import Upstreams
from services.gateway.settings import GatewaySettings
from services.gateway.wiring import connect

CACHE_SECONDS = 15.0
VALKEY_SECONDS = 5.0


@asynccontextmanager
async def compose(
    settings: GatewaySettings,
    wanted: Collection[str],
    health: Health,
    transport: Callable[[], Transport] = ConnectionPool,
) -> AsyncIterator[list[Role]]:
    """Build the roles of the gateway.

    Args:
        transport: makes each of the two ways to the other services.
    """
    async with connect(settings, Upstreams.connect(settings, transport)) as gateway:
        revocations = gateway.revocations
        health.add("people", revocations.heard_once)
        refresh = Periodic("refresh revocations", settings.changes_poll_seconds, revocations.refresh, retry_seconds=1.0)
        app = create_app(gateway, health.ready)
        yield [
            monitoring(health.ready, settings.host, settings.gateway_metrics_port),
            Role("revocations", refresh.run),
            Role("cache", Periodic("drop expired answers", CACHE_SECONDS, gateway.cache.drop_expired).run),
            Role("limits", Periodic("ask Valkey", VALKEY_SECONDS, gateway.rate_limits.check).run),
            Role("lag", LagMeter(SUBSCRIPTIONS, settings).run),
            Role("invalidation", InvalidationReader(gateway.invalidation, gateway.cache, settings).run),
            serve(
                app,
                settings.host,
                settings.gateway_port,
                drain_seconds=settings.drain_seconds,
                public=settings.rate_limits == "on",
                proxies=settings.proxies,
                find_ready=app.find_ready,
                access_log=AccessLog("gateway") if settings.access_log == "on" else None,
            ),
        ]


def main() -> None:
    """Run the role named on the command line."""
    settings = load(GatewaySettings)
    process.main("gateway", settings, roles=("api",), compose=partial(compose, settings))


if __name__ == "__main__":
    main()
