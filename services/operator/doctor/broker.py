"""Look at Kafka: whether it lets us in, its version, its topics, and the dead letters that wait there."""

import asyncio
import contextlib

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.protocol.admin import ApiVersionRequest
from aiokafka.protocol.metadata import MetadataRequest

from services.chassis.messaging import dead_letter
from services.chassis.messaging.broker_clients import administering
from services.chassis.messaging.connection import connection
from services.chassis.messaging.unreachable import Unreachable, unreachable
from services.chassis.runtime.setting_types import split_host
from services.contracts.topics import CONSUMER_GROUPS, dead_letter_topic
from services.operator.doctor.examination import Surroundings
from services.operator.doctor.findings import Finding, fault, ok, warning
from services.operator.doctor.settings import DoctorSettings
from services.operator.doctor.topics import look_at_topics
from services.operator.moments import counted

CONNECT_SECONDS = 3.0
LETTERS_SECONDS = 8.0
# the newest version of the request for metadata that each release of Kafka was the first to know
RELEASES = ((13, "4.0 or later"), (12, "2.8 to 3.9"), (9, "2.4 to 2.7"))
OLDEST_METADATA = 9
MEND_RIGHTS = "Run `rapport kafka-access` as an account that may change access control lists."


async def check_broker(around: Surroundings) -> list[Finding]:
    """Check the broker as the operator's account."""
    settings = around.settings
    servers = settings.kafka_bootstrap_servers
    if not any(await asyncio.gather(*map(_listens, servers.split(",")))):
        mend = "Start Kafka, or set KAFKA_BOOTSTRAP_SERVERS to where it is. Posting and reading go on meanwhile."
        return [fault("Kafka", f"nothing listens at {servers}", mend)]
    try:
        async with administering(settings) as admin:
            version = await _version(admin)
            topics = await look_at_topics(admin, settings)
            present = set(await admin.list_topics())
    except (KafkaConnectionError, OSError) as error:
        who = settings.kafka_username or "nobody"
        mend = (
            "Check KAFKA_SECURITY_PROTOCOL, KAFKA_SASL_MECHANISM, KAFKA_USERNAME, KAFKA_PASSWORD and KAFKA_CA_FILE "
            "against the broker's listener."
        )
        named = error if isinstance(error, Unreachable) else await unreachable(connection(settings))
        why = str(named).partition(": check ")[0]
        return [fault("Kafka", f"{servers} listens, but does not let us in as {who}: {why}", mend)]
    except KafkaError as error:
        return [fault("Kafka", f"{servers} refuses: {type(error).__name__}", MEND_RIGHTS)]
    readable = [  # nobody ends waiting for a topic that is missing; it is a finding already
        group for group in CONSUMER_GROUPS if settings.kafka_prefix + dead_letter_topic(group).name in present
    ]
    letters = await asyncio.gather(*(_letters(settings, group) for group in readable))
    return [version, *topics, *letters]


async def _listens(server: str) -> bool:
    host, port = split_host(server)
    with contextlib.suppress(OSError):  # TimeoutError is one
        async with asyncio.timeout(CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(host.strip("[]"), port or 9092)
        writer.close()
        return True
    return False


async def _version(admin: AIOKafkaAdminClient) -> Finding:
    """Tell the release by what it understands: a broker does not say its name."""
    answer = await admin._send_request(ApiVersionRequest())
    newest = {key: most for key, _, most in answer.api_versions}.get(MetadataRequest.API_KEY, 0)
    release = next((name for least, name in RELEASES if newest >= least), "older than 2.4")
    if newest < OLDEST_METADATA:
        return warning("Kafka", f"it answers; its version is {release}", "Update it; Rapport is tested with Kafka 4.")
    return ok("Kafka", f"it answers; its version is {release}")


async def _letters(settings: DoctorSettings, group: str) -> Finding:
    name = f"dead letters of {group}"
    try:
        async with asyncio.timeout(LETTERS_SECONDS):
            waiting = [one for one in await dead_letter.entries(settings, group) if one.state == "waiting"]
    except (KafkaError, OSError) as error:
        return warning(name, f"they cannot be read ({type(error).__name__})", MEND_RIGHTS)
    if not waiting:
        return ok(name, "none waits")
    look, again = f"`rapport dead-letter list {group}`", f"`rapport dead-letter redrive {group}`"
    mend = f"See {look}; mend the cause, then {again} (or drop them)."
    return warning(name, f"{counted(len(waiting), 'event')} could not be handled; one: {waiting[0].error[:200]}", mend)
