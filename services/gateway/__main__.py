"""Composition root of the gateway: `python -m services.gateway api|all`."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from functools import partial

from services.chassis import process
from services.chassis.process import Health, Role
from services.chassis.serving import http
from services.gateway.app import build
from services.gateway.evictions import Evictions
from services.gateway.settings import GatewaySettings
from services.gateway.wiring import wire


@asynccontextmanager
async def compose(settings: GatewaySettings, wanted: Collection[str], health: Health) -> AsyncIterator[list[Role]]:
    async with wire(settings) as gateway:
        health.add("people", gateway.changes.heard_once)
        app = build(gateway, health.ready)
        yield [
            Role("changes", gateway.changes.run),
            Role("evictions", Evictions(gateway.changed, gateway.cache, settings).run),
            http(app, settings.host, settings.gateway_port, settings.drain_seconds),
        ]


def main() -> None:
    settings = GatewaySettings()
    process.main(
        "gateway",
        settings,
        metrics_port=settings.gateway_metrics_port,
        roles=("api",),
        compose=partial(compose, settings),
    )


if __name__ == "__main__":
    main()
