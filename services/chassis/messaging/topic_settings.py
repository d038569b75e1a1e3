"""The settings of topics: what the contracts want, what the broker has, and how the one becomes the other."""

from collections.abc import Iterable, Mapping

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAuthorizationFailedError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Int8, Int16, Int32, Schema, String

from services.contracts.topics import Topic

DEAD_LETTER_BYTES = 2 * 1024 * 1024  # the original record of up to 1 MiB, and the headers about it
SET = 0  # the number of the operation in Kafka's protocol (KIP-339)

Changes = Mapping[str, Mapping[str, str]]


def wanted_settings(topic: Topic, replicas: int, min_insync_replicas: int | None) -> dict[str, str]:
    """Return the settings of a topic with so many replicas.

    Args:
        min_insync_replicas: None for all but one of the replicas: so one broker may be away, and one that dies takes
            nothing along that was acknowledged.
    """
    wanted = {
        "retention.ms": str(topic.retention_ms),
        "cleanup.policy": "delete",
        "min.insync.replicas": str(min_insync_replicas or max(1, replicas - 1)),
    }
    if topic.is_dead_letter:
        wanted["max.message.bytes"] = str(DEAD_LETTER_BYTES)
    return wanted


async def read_settings(
    admin: AIOKafkaAdminClient, names: Iterable[str]
) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Return the settings of each topic, and the topics whose settings we may not see.

    Raises:
        KafkaError: the broker does not answer, or refuses for another reason.
    """
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    found: dict[str, dict[str, str]] = {}
    hidden: list[str] = []
    for answer in await admin.describe_configs(resources) if resources else ():
        for error, _, _, name, entries in answer.resources:
            if error == TopicAuthorizationFailedError.errno:
                hidden.append(name)
            elif not error:
                found[name] = {entry[0]: entry[1] for entry in entries}
    return found, hidden


async def alter_settings(admin: AIOKafkaAdminClient, changes: Changes) -> None:
    """Set these settings of these topics, and leave all others as they are. It may be repeated.

    Raises:
        KafkaError: the broker refuses a topic; those without fault are altered nevertheless.
    """
    answer = await admin._send_to_controller(_IncrementalAlterConfigs(changes))
    for code, message, _, name in answer.resources:
        if code:
            raise for_code(code)(f"{message or 'refused'}: {name}")


class _Response_v0(Response):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 44
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "resources",
            Array(
                ("error_code", Int16),
                ("error_message", String("utf-8")),
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
            ),
        ),
    )


class _Request_v0(RequestStruct):  # type: ignore[misc]
    API_KEY = 44
    API_VERSION = 0
    RESPONSE_TYPE = _Response_v0
    SCHEMA = Schema(
        (
            "resources",
            Array(
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
                (
                    "configs",
                    Array(("name", String("utf-8")), ("config_operation", Int8), ("value", String("utf-8"))),
                ),
            ),
        ),
        ("validate_only", Boolean),
    )


class _IncrementalAlterConfigs(Request[_Request_v0]):  # type: ignore[misc]
    """aiokafka's request to alter settings resets all that are not in it; Kafka deprecates that one."""

    API_KEY = 44

    def __init__(self, changes: Changes) -> None:
        self._resources = [
            (ConfigResourceType.TOPIC.value, name, [(setting, SET, value) for setting, value in settings.items()])
            for name, settings in changes.items()
        ]

    def build(self, request_struct_class: type[_Request_v0]) -> _Request_v0:
        return request_struct_class(self._resources, False)
