"""Why Kafka cannot be reached: what is wrong, in a sentence that names the setting.

aiokafka keeps the reason to itself: after trying each server it raises one error for all. So the servers are asked
again, once each, and the first that tells more than its absence is believed.
"""

import contextlib
import socket
from collections.abc import Mapping
from typing import Any

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from services.chassis.runtime.timeouts import wait_at_most
from services.chassis.runtime.tls_faults import speaks_tls, tls_fault

ANSWER_SECONDS = 2.0
PROTOCOL = "KAFKA_SECURITY_PROTOCOL"
ABSENT = "does not answer"
UNKNOWN = "has a host that is not known"


class Unreachable(KafkaConnectionError):  # type: ignore[misc]  # aiokafka has no types
    """No broker answers. The message is a sentence that names the setting.

    Args:
        found: what is wrong and which setting to check; without it nothing is known.
    """

    def __init__(self, bootstrap: str, credential: bool = False, found: tuple[str, str] | None = None) -> None:
        if found is None:
            who = f", {PROTOCOL}, KAFKA_SASL_MECHANISM, KAFKA_USERNAME and KAFKA_PASSWORD" if credential else ""
            what = "does not answer or does not accept the credential" if credential else ABSENT
            found = what, f"KAFKA_BOOTSTRAP_SERVERS{who}"
        super().__init__(f"Kafka at {bootstrap} {found[0]}: check {found[1]}")

    def __str__(self) -> str:
        return str(self.args[0])


async def unreachable(arguments: Mapping[str, Any]) -> Unreachable:
    """Return the error for a client with these arguments, none of whose servers let it in."""
    servers = arguments["bootstrap_servers"]
    found = None
    with contextlib.suppress(TimeoutError):
        found = await wait_at_most(2 * ANSWER_SECONDS, _first_reason(arguments))
    return Unreachable(servers, "sasl_mechanism" in arguments, found)


async def _first_reason(arguments: Mapping[str, Any]) -> tuple[str, str] | None:
    others = {name: value for name, value in arguments.items() if name != "bootstrap_servers"}
    absent = None
    for host, port, _ in collect_hosts(arguments["bootstrap_servers"], randomize=False):
        reason = await _reason(host, port, others)
        if reason is not None and reason[0] not in (ABSENT, UNKNOWN):
            return reason
        absent = absent or reason
    return absent


async def _reason(host: str, port: int, others: Mapping[str, Any]) -> tuple[str, str] | None:
    """Connect to one server, ask it something, and return what goes wrong; None if that tells nothing."""
    protocol, connected = others.get("security_protocol", "PLAINTEXT"), False
    try:
        connection = await create_conn(host, port, request_timeout_ms=int(ANSWER_SECONDS * 1000), **others)
        connected = True
        try:
            await connection.send(MetadataRequest([]))
        finally:
            connection.close()
    except (UnsupportedSaslMechanismError, IllegalSaslStateError):
        return f"does not take {others.get('sasl_mechanism', 'this mechanism')}", "KAFKA_SASL_MECHANISM"
    except SaslAuthenticationFailed:
        return "does not accept the credential", "KAFKA_USERNAME and KAFKA_PASSWORD"
    except socket.gaierror:
        return UNKNOWN, "KAFKA_BOOTSTRAP_SERVERS"
    except ConnectionRefusedError:
        return ABSENT, "KAFKA_BOOTSTRAP_SERVERS"
    except (KafkaError, OSError) as error:
        fault = tls_fault(error)
        if fault is not None:
            return fault, _setting_of(fault)
        if connected:  # a listener with accounts says its versions to everybody, and hangs up at the next question
            return None if protocol.startswith("SASL") else ("asks for an account", f"{PROTOCOL} and KAFKA_USERNAME")
        if protocol.endswith("SSL"):
            return ("speaks no TLS there", PROTOCOL) if isinstance(error, ConnectionError) else None
        if await speaks_tls(host, port):
            return f"speaks TLS, but {PROTOCOL} is {protocol}", PROTOCOL
    return None


def _setting_of(fault: str) -> str:
    if "another name" in fault:
        return "KAFKA_BOOTSTRAP_SERVERS"
    return "KAFKA_CA_FILE" if "certificate" in fault else PROTOCOL
