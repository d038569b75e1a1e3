"""How every Kafka client of a process reaches the broker: address, encryption and credential."""

import ssl
from functools import cache
from typing import Any

from services.chassis.runtime.settings import Settings


def connection(settings: Settings) -> dict[str, Any]:
    """Return the arguments of a Kafka client that say where the broker is and who asks."""
    protocol = settings.kafka_security_protocol
    arguments: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap_servers,
        "security_protocol": protocol,
    }
    if protocol.endswith("SSL"):
        arguments["ssl_context"] = _ssl_context(settings.kafka_ca_file)
    if protocol.startswith("SASL"):
        arguments["sasl_mechanism"] = settings.kafka_sasl_mechanism
        arguments["sasl_plain_username"] = settings.kafka_username
        arguments["sasl_plain_password"] = settings.kafka_password
    return arguments


@cache
def _ssl_context(authorities: str) -> ssl.SSLContext:
    """Return a context that checks the broker's certificate and name."""
    return ssl.create_default_context(cafile=authorities or None)
