"""Access control lists of the broker, made from the rights in the contracts."""

from collections.abc import Iterable

from aiokafka.errors import for_code
from aiokafka.protocol.admin import CreateAclsRequest, CreateAclsRequest_v1

from services.chassis.messaging.broker_clients import administering
from services.chassis.runtime.settings import Settings
from services.contracts.broker_rights import Grant

# the numbers of Kafka's protocol (KIP-140)
RESOURCES = {"topic": 2, "group": 3}
OPERATIONS = {"read": 3, "write": 4, "create": 5, "describe": 8, "describe-configs": 10, "alter-configs": 11}
LITERAL, ALLOW = 3, 3


async def grant(settings: Settings, grants: Iterable[Grant]) -> int:
    """Give accounts these rights, all in one request; return how many. A right that exists is no error.

    The settings are those of an account that may change access control lists.

    Raises:
        Unreachable: no broker answers or accepts the credential; a KafkaError.
        KafkaError: the broker refuses.
    """
    rights = [_row(right, settings.kafka_prefix) for right in grants]
    async with administering(settings, int(settings.kafka_timeout_seconds * 1000)) as admin:
        answer = await admin._send_to_controller(_CreateAll(rights))
        for code, message in answer.creation_responses:
            if code:
                raise for_code(code)(message)
    return len(rights)


Row = tuple[int, str, int, str, str, int, int]


class _CreateAll(CreateAclsRequest):  # type: ignore[misc]  # aiokafka has no types
    """aiokafka's request creates one right only; the protocol takes a list."""

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows

    def build(self, _: object) -> CreateAclsRequest_v1:
        return CreateAclsRequest_v1(self._rows)


def _row(right: Grant, prefix: str) -> Row:
    resource, operation = RESOURCES[right.resource], OPERATIONS[right.operation]
    return (resource, prefix + right.name, LITERAL, f"User:{right.account}", "*", operation, ALLOW)
