"""`python -m deploy.local.dotenv FILE`: make the keys and passwords that docker-compose.yml reads, and none anew."""

import secrets
import sys
from pathlib import Path

from deploy.local import private
from deploy.local.kafka import BROKER
from deploy.local.layout import DATABASES
from services.contracts.broker_rights import ACCOUNTS
from services.operator.keys import generate_keys

PASSWORDS = (
    "POSTGRES_PASSWORD",
    "VALKEY_PASSWORD",
    *(f"{service.upper()}_DATABASE_PASSWORD" for service in DATABASES),
    *(f"{account.upper()}_KAFKA_PASSWORD" for account in (BROKER, *ACCOUNTS)),
)


def complete(text: str) -> str:
    """Return the text of an environment file with a line for every key and password that it lacks.

    The keys are one set: they are made together, or not at all.
    """
    given = {line.partition("=")[0].strip() for line in text.splitlines() if "=" in line}
    keys = {} if given & generate_keys().keys() else generate_keys()
    made = {name: f"'{value}'" for name, value in keys.items()}
    made |= {name: secrets.token_urlsafe(24) for name in PASSWORDS if name not in given}
    separator = "\n" if text and not text.endswith("\n") else ""
    return text + separator + "".join(f"{name}={value}\n" for name, value in made.items())


if __name__ == "__main__":
    file = Path(sys.argv[1])
    private.write(file, complete(file.read_text() if file.exists() else ""))
