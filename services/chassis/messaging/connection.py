"""How every Kafka client of a process reaches the broker: address, encryption and credential."""

import ssl
from functools import lru_cache
from pathlib import Path
from typing import Any

from services.chassis.messaging.unreachable import Unreachable
from services.chassis.runtime.settings import Settings


def connection(settings: Settings) -> dict[str, Any]:
    """Return the arguments of a Kafka client that say where the broker is and who asks.

    Raises:
        Unreachable: the file of the authorities cannot be read; a KafkaError.
    """
    protocol = settings.kafka_security_protocol
    arguments: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap_servers,
        "security_protocol": protocol,
    }
    if protocol.endswith("SSL"):
        authorities = settings.kafka_ca_file
        try:
            changed = Path(authorities).stat().st_mtime_ns if authorities else 0
            arguments["ssl_context"] = _ssl_context(authorities, changed)
        except OSError as error:  # also of what is no certificate
            found = f"cannot be checked ({error.strerror})", "KAFKA_CA_FILE"
            raise Unreachable(settings.kafka_bootstrap_servers, found=found) from error
    if protocol.startswith("SASL"):
        arguments["sasl_mechanism"] = settings.kafka_sasl_mechanism
        arguments["sasl_plain_username"] = settings.kafka_username
        arguments["sasl_plain_password"] = settings.kafka_password
    return arguments


@lru_cache(maxsize=2)
def _ssl_context(authorities: str, changed: int) -> ssl.SSLContext:
    """Return a context that checks the broker's certificate and name; another one after the file has changed."""
    return ssl.create_default_context(cafile=authorities or None)
