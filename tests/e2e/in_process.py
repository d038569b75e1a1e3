"""A whole system inside one event loop: every service's own composition root, over real servers.

Only so can a test see which functions a request passes on its way through all services.
"""

import asyncio
import importlib
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from services.chassis.runtime.process import Health
from tests.servers import free_port
from tests.stack import Stack
from tests.waiting import eventually

SETTINGS = {
    "posts": "PostsSettings",
    "comments": "CommentsSettings",
    "people": "PeopleSettings",
    "notify": "NotifySettings",
    "gateway": "GatewaySettings",
}
ROLES = ("api", "relay", "publisher", "consumer", "mailer")


@asynccontextmanager
async def running(stack: Stack) -> AsyncIterator[None]:
    """Run every role of every service of a prepared stack in this process until the block ends."""
    saved = dict(os.environ)
    os.environ.update(stack.environment() | {f"{name.upper()}_METRICS_PORT": str(free_port()) for name in SETTINGS})
    stop, stop_last, tasks, healths = asyncio.Event(), asyncio.Event(), [], []
    try:
        async with AsyncExitStack() as entered:
            for service, name in SETTINGS.items():
                root: Any = importlib.import_module(f"services.{service}.__main__")
                settings = getattr(importlib.import_module(f"services.{service}.settings"), name)()
                health = Health()
                healths.append(health)
                roles = await entered.enter_async_context(root.compose(settings, ROLES, health))
                tasks += [asyncio.create_task(role.run(stop_last if role.stops_last else stop)) for role in roles]

            async def ready() -> bool:
                for task in tasks:
                    if task.done():
                        task.result()
                return all([all((await health.ready()).values()) for health in healths])

            try:
                await eventually(ready, timeout=60)
                yield
            finally:
                stop.set()
                stop_last.set()
                await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        os.environ.clear()
        os.environ.update(saved)
