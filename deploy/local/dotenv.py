"""`python -m deploy.local.dotenv FILE`: make what docker-compose.yml reads, and nothing anew.

Keys and passwords go into the file. Beside it, `files/` gets a folder for each kind of process, which sees no other,
and the certificate of the proxy.
"""

import secrets
import sys
from pathlib import Path
from urllib.parse import urlsplit

from deploy.local import private, trial_certificate
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
FOLDERS = (*DATABASES, "gateway", "operator", BROKER, "mail", "proxy")


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


def make_folders(files: Path, text: str) -> None:
    """Make the folders that are mounted into the containers, and a certificate for a trial if there is none.

    The folder around them is closed to other users of this machine. What is in it has to be readable by all, because
    processes in containers have users of their own.
    """
    private.make_folder(files)
    for name in FOLDERS:
        (files / name).mkdir(exist_ok=True)
        (files / name).chmod(0o755)
    certificate = files / "proxy/chain-and-key.pem"
    if not certificate.exists():
        values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        host = urlsplit(values.get("PUBLIC_URL", "").strip("'\"")).hostname
        certificate.write_bytes(trial_certificate.make([host] if host else []))
        certificate.chmod(0o644)


def main(file: Path) -> None:
    """Make or complete the file, and what is beside it."""
    text = complete(file.read_text() if file.exists() else "")
    private.write(file, text)
    make_folders(file.parent / "files", text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
