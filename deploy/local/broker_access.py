"""The rights of the local broker's accounts, by the table in `contracts/broker_rights.py`, and a given broker."""

import asyncio
import logging

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from deploy.local import environment
from deploy.local.kafka import BROKER
from deploy.local.layout import Layout
from deploy.local.processes import LocalError
from services.chassis.messaging.broker_rights import grant
from services.chassis.messaging.connection import connection
from services.chassis.runtime.settings import Settings
from services.contracts.broker_rights import grants

logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # the user reads sentences, not each attempt


async def grant_all(layout: Layout) -> None:
    """Give every account its rights, as the broker's own account. Rights that exist stay.

    Raises:
        LocalError: the broker refuses.
    """
    given = environment.broker_access(layout, BROKER)
    values = {name.lower(): value for name, value in given.items()}
    prefix = layout.given.get("KAFKA_PREFIX") or ""
    settings = Settings.model_validate(values | {"kafka_bootstrap_servers": layout.bootstrap, "kafka_prefix": prefix})
    try:
        await grant(settings, grants())
    except (KafkaError, OSError) as error:
        raise LocalError(
            f"Kafka did not take its access control lists ({error}): see {layout.log_folder}/kafka.log."
        ) from None


def is_reached(layout: Layout) -> bool:
    """Return whether the given broker answers with the given credential."""
    given = environment.shared(layout)
    values = {field: given[field.upper()] for field in Settings.model_fields if field.upper() in given}
    return asyncio.run(_is_reached(Settings.model_validate(values)))


async def _is_reached(settings: Settings) -> bool:
    admin = AIOKafkaAdminClient(**connection(settings), request_timeout_ms=2000)
    try:
        await admin.start()
    except (KafkaError, OSError):
        return False
    finally:
        await admin.close()
    return True
