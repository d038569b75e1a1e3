"""Give the services' accounts their rights on the broker, or show which these are."""

from aiokafka.errors import KafkaError, SecurityDisabled
from rich.console import Console
from rich.table import Table

from services.chassis.messaging.broker_rights import grant
from services.chassis.messaging.unreachable import Unreachable
from services.chassis.runtime.settings import Settings
from services.contracts.broker_rights import grants
from services.operator.failures import Failed


def show(settings: Settings, console: Console) -> None:
    """Print every right, for brokers whose lists are made by other means."""
    table = Table("account", "operation", "resource", "name")
    for right in grants():
        table.add_row(f"User:{right.account}", right.operation, right.resource, settings.kafka_prefix + right.name)
    console.print(table)


async def give(settings: Settings, console: Console) -> None:
    """Create the access control lists, as the account in the settings, which must be allowed to.

    A broker without an authorizer takes none, which is said.

    Raises:
        Failed: the broker does not answer, or refuses.
    """
    try:
        count = await grant(settings, grants())
    except Unreachable as error:
        raise Failed(f"{error}.") from error
    except SecurityDisabled:
        console.print("This broker has no authorizer: whoever reaches it may write every topic.")
        return
    except (KafkaError, OSError) as error:
        who = settings.kafka_username or "nobody: set KAFKA_USERNAME and KAFKA_PASSWORD"
        raise Failed(
            f"Kafka at {settings.kafka_bootstrap_servers} does not let this account change access control lists "
            f"({type(error).__name__}). It was asked as {who}."
        ) from error
    console.print(f"The accounts have their {count} rights.")
