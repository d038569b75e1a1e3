"""Settings of every service, read from the environment. Names are the variables' names in lower case.

The types of a setting (`setting_types.py`) refuse what could not work; `load` turns that into sentences for people.
"""

import socket
import sys
from collections.abc import Mapping
from typing import Any, Literal, Self, TypeVar

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.chassis.errors import CannotStart
from services.chassis.runtime.secret_files import FromEnvironment
from services.chassis.runtime.setting_types import (
    AuthoritiesFile,
    Count,
    Days,
    KafkaMechanism,
    KafkaProtocol,
    KafkaServers,
    KeySet,
    LogLevel,
    Pause,
    PublicUrl,
    Seconds,
    Text,
    check_service_url,
)

S = TypeVar("S", bound=BaseSettings)


class Settings(FromEnvironment):
    """The settings shared by services. Each service adds its own in its `settings.py`.

    `DATABASE_POOLER=transaction`: a connection pooler such as pgbouncer stands before the databases.

    `VERIFICATION_KEYS` is the JSON Web Key Set (RFC 7517, RFC 8037) with the public keys of every issuer. Each
    `kid` is `<issuer>-<anything>`.

    `RELAY_PACE_SECONDS` is the least time between two reads of the outbox; rows written meanwhile are published in one
    batch.

    `INSTANCE` is the static member name under which a process that crashed finds its partitions again: two processes of
    one group on one host need different names. `KAFKA_PREFIX` is prepended to the name of every topic and group.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    environment: Literal["development", "production"] = "development"
    host: Text = "127.0.0.1"
    public_url: PublicUrl = "http://127.0.0.1:8000"
    kafka_bootstrap_servers: KafkaServers = "127.0.0.1:9092"
    kafka_prefix: str = ""
    kafka_security_protocol: KafkaProtocol = "PLAINTEXT"
    kafka_sasl_mechanism: KafkaMechanism = "SCRAM-SHA-512"
    kafka_username: str = ""
    kafka_password: str = Field(default="", repr=False)
    kafka_ca_file: AuthoritiesFile = ""
    instance: Text = Field(default_factory=socket.gethostname)
    verification_keys: KeySet = Field(default='{"keys": []}', repr=False)
    database_pool_size: Count = 10
    database_pooler: Literal["none", "transaction"] = "none"
    relay_poll_seconds: Seconds = 0.25
    relay_pace_seconds: Pause = 0.04
    relay_batch: Count = 2000
    kafka_timeout_seconds: Seconds = 10.0
    kafka_replication_factor: Count = 1
    kafka_min_insync_replicas: Count | None = None
    consumer_batch: Count = 250
    consumer_stall_seconds: Seconds = 120.0
    outbox_retention_days: Days = 7
    inbox_retention_days: Days = 120
    drain_seconds: Seconds = 15.0
    log_level: LogLevel = "INFO"

    @field_validator("*")
    @classmethod
    def _is_address(cls, value: Any, info: ValidationInfo) -> Any:
        """Check an address without a type of its own: that of another service, from the contracts."""
        name = info.field_name or ""
        if name.endswith("_url") and not cls.model_fields[name].metadata:
            return check_service_url(value)
        return value

    @model_validator(mode="after")
    def _kafka_knows_who_asks(self) -> Self:
        named, asked = bool(self.kafka_username), self.kafka_security_protocol.startswith("SASL")
        if asked and not (named and self.kafka_password):
            raise ValueError(
                f"KAFKA_SECURITY_PROTOCOL is {self.kafka_security_protocol}: set KAFKA_USERNAME and KAFKA_PASSWORD"
            )
        if named and not asked:
            raise ValueError(
                f"KAFKA_USERNAME is set, but KAFKA_SECURITY_PROTOCOL is {self.kafka_security_protocol}, which has no "
                "names: set SASL_SSL or SASL_PLAINTEXT"
            )
        return self

    @model_validator(mode="after")
    def _topics_can_be_written(self) -> Self:
        least, replicas = self.kafka_min_insync_replicas, self.kafka_replication_factor
        if least is not None and least > replicas:
            raise ValueError(
                f"KAFKA_MIN_INSYNC_REPLICAS is {least}, but KAFKA_REPLICATION_FACTOR is {replicas}: nobody could "
                f"write to the topics; set it to {max(1, replicas - 1)}, or leave it out"
            )
        return self

    def require(self, *fields: str) -> None:
        """Check that settings are not empty which some roles need and others do not.

        Raises:
            CannotStart: some are; a sentence for each.
        """
        missing = [field.upper() for field in fields if not getattr(self, field)]
        if missing:
            raise CannotStart("\n".join(f"{variable} is not set." for variable in missing))

    def with_safe_links(self) -> Self:
        """Return the settings, for a validator of a service whose links act, such as those that sign in.

        Raises:
            ValueError: the links would not be https in production.
        """
        if self.environment == "production" and not self.public_url.startswith("https://"):
            raise ValueError("PUBLIC_URL must be https in production: mails carry links that act")
        return self


def load(kind: type[S], **values: Any) -> S:
    """Read settings from the environment; print a sentence for each that cannot work, and exit with status 2.

    Args:
        values: go before the environment.
    """
    try:
        return kind(**values)
    except ValidationError as error:
        sys.stderr.write("".join(f"{sentence}\n" for sentence in sentences(kind, error)))
        sys.exit(2)


def sentences(kind: type[BaseSettings], error: ValidationError) -> list[str]:
    """Return one sentence for each refused setting; each names its variable, none shows a secret."""
    return [_sentence(kind, detail) for detail in error.errors(include_url=False)]


def _sentence(kind: type[BaseSettings], detail: Mapping[str, Any]) -> str:
    if not detail["loc"]:  # two settings do not go together
        return f"{_reason(detail)}."
    field, variable = str(detail["loc"][0]), str(detail["loc"][0]).upper()
    if detail["type"] == "missing":
        return f"{variable} is not set."
    known = kind.model_fields.get(field)
    hidden = known is not None and not known.repr
    value = "" if hidden else f"={str(detail['input'])[:200]}"
    return f"{variable}{value} cannot be used: it {_reason(detail)}."


def _reason(detail: Mapping[str, Any]) -> str:
    found: dict[str, Any] = detail.get("ctx", {})
    match detail["type"]:
        case "value_error":
            return str(found["error"])
        case "literal_error":
            return f"must be {found['expected']}"
        case "int_parsing" | "int_from_float" | "int_parsing_size":
            return "must be a whole number"
        case "float_parsing" | "finite_number":
            return "must be a number"
        case "greater_than":
            return f"must be more than {found['gt']:g}"
        case "greater_than_equal":
            return f"must be at least {found['ge']:g}"
        case "less_than_equal":
            return f"must be at most {found['le']:g}"
        case "string_too_short":
            return "must not be empty"
        case _:
            return str(detail["msg"])
