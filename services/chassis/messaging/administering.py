"""A client that administers the broker."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError

from services.chassis.messaging.connection import connection
from services.chassis.messaging.unreachable import unreachable
from services.chassis.runtime.settings import Settings


@asynccontextmanager
async def administering(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    """Connect to the broker as the account in the settings, inside the block.

    Raises:
        Unreachable: no broker answers or accepts the credential; a KafkaError.
    """
    admin = AIOKafkaAdminClient(**connection(settings), request_timeout_ms=int(settings.kafka_timeout_seconds * 1000))
    try:
        try:
            await admin.start()
        except (KafkaConnectionError, OSError):
            raise await unreachable(connection(settings)) from None
        yield admin
    finally:
        await admin.close()
