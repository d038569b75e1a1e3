"""Settings of every service, read from the environment. Names are the variables' names in lower case."""

import socket
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """The settings shared by services. Each service adds its own in its `settings.py`.

    `VERIFICATION_KEYS` is the JSON Web Key Set (RFC 7517, RFC 8037) with the public keys of every issuer. Each
    `kid` is `<issuer>-<anything>`.

    `RELAY_PACE_SECONDS` is the least time between two reads of the outbox; rows written meanwhile are published in one
    batch.

    `INSTANCE` is the static member name that lets a process keep its partitions over a restart: two processes of one
    group on one host need different names. `KAFKA_PREFIX` is prepended to the name of every topic and group.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    environment: Literal["development", "production"] = "development"
    host: str = "127.0.0.1"
    public_url: str = "http://127.0.0.1:8000"
    kafka_bootstrap_servers: str = "127.0.0.1:9092"
    kafka_prefix: str = ""
    instance: str = Field(default_factory=socket.gethostname)
    verification_keys: str = Field(default='{"keys": []}', repr=False)
    database_pool_size: int = 10
    relay_poll_seconds: float = 0.25
    relay_pace_seconds: float = 0.02
    relay_batch: int = 500
    kafka_timeout_seconds: float = 10.0
    kafka_replication_factor: int = 1
    consumer_batch: int = 100
    consumer_stall_seconds: float = 120.0
    outbox_retention_days: int = 7
    inbox_retention_days: int = 120
    drain_seconds: float = 15.0
    log_level: str = "INFO"
