"""Composition root of the gateway: `python -m services.gateway api|all`."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from functools import partial

from services.chassis.http.monitoring import monitoring
from services.chassis.http.server import serve
from services.chassis.runtime import process
from services.chassis.runtime.process import Health, Role
from services.gateway.app import build
from services.gateway.caching.invalidation import InvalidationReader
from services.gateway.settings import GatewaySettings
from services.gateway.wiring import wire


@asynccontextmanager
async def compose(settings: GatewaySettings, wanted: Collection[str], health: Health) -> AsyncIterator[list[Role]]:
    async with wire(settings) as gateway:
        health.add("people", gateway.changes.heard_once)
        app = build(gateway, health.ready)
        yield [
            monitoring(health.ready, settings.host, settings.gateway_metrics_port),
            Role("changes", gateway.changes.run),
            Role("evictions", InvalidationReader(gateway.changed, gateway.cache, settings).run),
            serve(app, settings.host, settings.gateway_port, drain_seconds=settings.drain_seconds),
        ]


def main() -> None:
    settings = GatewaySettings()
    process.main(
        "gateway",
        settings,
        roles=("api",),
        compose=partial(compose, settings),
    )


if __name__ == "__main__":
    main()
