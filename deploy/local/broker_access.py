"""The rights of the accounts of the local broker; the table is in `services/contracts/access.py`."""

from aiokafka.errors import KafkaError

from deploy.local import environment
from deploy.local.kafka import BROKER
from deploy.local.layout import Layout
from deploy.local.processes import LocalError
from services.chassis.messaging.access import grant
from services.chassis.runtime.settings import Settings
from services.contracts.access import grants


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
