"""The passwords of this stack's servers: made the first time, and kept in files that only their owner reads."""

import json
import secrets
from collections.abc import Iterable
from pathlib import Path

from deploy.local import private
from deploy.local.kafka import BROKER
from deploy.local.layout import DATABASES, Layout
from services.contracts.broker_rights import ACCOUNTS


def of_databases(layout: Layout) -> dict[str, str]:
    """Return the password of each service's database role."""
    return _kept(layout.home / "database-passwords.json", DATABASES)


def of_valkey(layout: Layout) -> str:
    """Return the password of Valkey."""
    return _of_servers(layout)["valkey"]


def of_broker(layout: Layout) -> dict[str, str]:
    """Return the accounts of Kafka with their passwords."""
    kept = _of_servers(layout)
    return {name: kept[name] for name in (BROKER, *ACCOUNTS)}


def _of_servers(layout: Layout) -> dict[str, str]:
    return _kept(layout.home / "server-passwords.json", ("valkey", BROKER, *ACCOUNTS))


def _kept(file: Path, names: Iterable[str]) -> dict[str, str]:
    kept: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
    wanted = {name: secrets.token_urlsafe(24) for name in names}
    if not wanted.keys() <= kept.keys():
        kept = wanted | kept
        private.write(file, json.dumps(kept))
    return kept
