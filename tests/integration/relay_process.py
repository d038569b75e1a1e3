"""A relay in its own process, for tests that pause it: `python -m tests.integration.relay_process URL`."""

import asyncio
import sys

from services.chassis.database.pool import Database
from services.chassis.messaging.producer import Producer
from services.chassis.messaging.relay import Relay
from services.chassis.runtime.settings import Settings


async def main(url: str) -> None:
    settings = Settings()
    relay = Relay(await Database.connect(url, name="relay"), url, Producer(settings), settings)
    await relay.run(asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
