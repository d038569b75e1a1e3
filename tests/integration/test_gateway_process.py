"""The composition root of the gateway, without any service behind it."""

import asyncio
from collections.abc import Callable

import aiohttp

from services.chassis.runtime.process import Health
from services.gateway.__main__ import compose
from services.gateway.settings import GatewaySettings
from tests.waiting import eventually


async def test_without_any_service_the_gateway_is_live_and_not_ready(
    keys: dict[str, str], free_port: Callable[[], int], redis_url: str
) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    settings = GatewaySettings(
        gateway_port=free_port(),
        gateway_metrics_port=free_port(),
        gateway_signing_key=keys["GATEWAY_SIGNING_KEY"],
        verification_keys=keys["VERIFICATION_KEYS"],
        posts_url=nowhere,
        comments_url=nowhere,
        people_url=nowhere,
        notify_url=nowhere,
        redis_url=redis_url,
        kafka_bootstrap_servers=f"127.0.0.1:{free_port()}",
        read_deadline_seconds=0.5,
    )
    url, stop, health = f"http://127.0.0.1:{settings.gateway_port}", asyncio.Event(), Health()
    async with compose(settings, ["api"], health) as roles, aiohttp.ClientSession() as session:
        running = [asyncio.ensure_future(role.run(stop)) for role in roles]

        async def status(path: str) -> int:
            try:
                async with session.get(url + path) as answer:
                    return answer.status
            except aiohttp.ClientError:
                return 0

        async def lives() -> bool:
            return await status("/livez") == 200

        await eventually(lives)
        assert await status("/readyz") == 503
        assert await status("/v1/posts") == 503
        assert await status("/") == 503
        assert await status("/problems/unavailable") == 200
        stop.set()
        await asyncio.wait_for(asyncio.gather(*running), 20)
