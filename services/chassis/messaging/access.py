"""Access control lists of the broker, made from the rights in the contracts."""

from collections.abc import Iterable

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import for_code
from aiokafka.protocol.admin import CreateAclsRequest

from services.chassis.messaging.connection import connection
from services.chassis.runtime.settings import Settings
from services.contracts.access import Grant

# the numbers of Kafka's protocol (KIP-140)
RESOURCES = {"topic": 2, "group": 3}
OPERATIONS = {"read": 3, "write": 4, "create": 5, "describe": 8}
LITERAL, ALLOW = 3, 3


async def grant(settings: Settings, grants: Iterable[Grant]) -> int:
    """Give accounts these rights, in one request each; return how many. A right that exists is no error.

    The settings are those of an account that may change access control lists.

    Raises:
        KafkaError: no broker answers, or it refuses.
        TimeoutError: it took too long.
    """
    admin = AIOKafkaAdminClient(**connection(settings), request_timeout_ms=int(settings.kafka_timeout_seconds * 500))
    count = 0
    try:
        await admin.start()
        for right in grants:
            answer = await admin._send_to_controller(_request(right, settings.kafka_prefix))
            for code, message in answer.creation_responses:
                if code:
                    raise for_code(code)(message)
            count += 1
    finally:
        await admin.close()
    return count


def _request(right: Grant, prefix: str) -> CreateAclsRequest:
    return CreateAclsRequest(
        resource_type=RESOURCES[right.resource],
        resource_name=prefix + right.name,
        resource_pattern_type_filter=LITERAL,
        principal=f"User:{right.account}",
        host="*",
        operation=OPERATIONS[right.operation],
        permission_type=ALLOW,
    )
