"""What each process finds in its environment: addresses, and of the secrets only its own."""

import json
import os
import secrets
import shlex
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

from deploy.local.layout import CHECKOUT, DATABASES, SERVICES, Layout
from deploy.local.processes import LocalError

OWN_SECRETS = {
    "gateway": ("GATEWAY_SIGNING_KEY",),
    "people": ("PEOPLE_SIGNING_KEY",),
    "notify": ("NOTIFY_SIGNING_KEY", "NOTIFY_SECRET"),
    "operator": ("OPERATOR_SIGNING_KEY",),
}
SECRETS = frozenset(name for names in OWN_SECRETS.values() for name in names)


def keys(layout: Layout) -> dict[str, str]:
    """The keys of this stack, made by `python -m services.operator keys` the first time and kept.

    Raises:
        LocalError: they cannot be made.
    """
    file = layout.home / "keys.env"
    kept = _parse(file.read_text()) if file.exists() else {}
    if not kept.keys() >= SECRETS:
        command = [sys.executable, "-m", "services.operator", "keys"]
        result = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
        if result.returncode != 0:
            raise LocalError(f"The keys could not be made: `{shlex.join(command)}` said\n{result.stderr.strip()}")
        kept = _parse(result.stdout)
        _write_private(file, result.stdout)
    return kept


def _parse(text: str) -> dict[str, str]:
    """Lines `NAME='value'` as a shell would read them."""
    words = (shlex.split(line, comments=True) for line in text.splitlines())
    return dict(word.split("=", 1) for line in words for word in line if "=" in word)


def database_passwords(layout: Layout) -> dict[str, str]:
    """The password of each service's database role, made the first time and kept."""
    file = layout.home / "database-passwords.json"
    kept: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
    if not set(DATABASES) <= kept.keys():
        kept = {service: secrets.token_urlsafe(24) for service in DATABASES} | kept
        _write_private(file, json.dumps(kept))
    return kept


def _write_private(file: Path, text: str) -> None:
    """Complete or not at all, and for the owner's eyes."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600)
    unfinished.write_text(text)
    unfinished.replace(file)


def database_url(layout: Layout, service: str) -> str:
    """Where a service's database is: the one given, or the local one under the service's own role."""
    password = quote(database_passwords(layout)[service])
    local = f"postgresql://{service}:{password}@127.0.0.1:{layout.port('POSTGRES_PORT')}/{service}"
    return layout.database_given(service) or local


def shared(layout: Layout) -> dict[str, str]:
    """What every process gets: the caller's environment without any secret of Rapport, and all addresses.

    Everything listens on this machine only, whatever HOST says: some shells set it to the machine's name.
    """
    databases = {f"{service.upper()}_DATABASE_URL" for service in DATABASES}
    inherited = {name: value for name, value in layout.given.items() if name not in SECRETS | databases}
    return inherited | {
        "HOST": "127.0.0.1",
        "PYTHONUNBUFFERED": "1",
        "PUBLIC_URL": layout.public_url,
        "KAFKA_BOOTSTRAP_SERVERS": layout.bootstrap,
        "REDIS_URL": layout.given.get("REDIS_URL") or f"redis://127.0.0.1:{layout.port('VALKEY_PORT')}/0",
        "SMTP_HOST": layout.given.get("SMTP_HOST") or "127.0.0.1",
        "SMTP_PORT": str(layout.port("SMTP_PORT")) if layout.needs_mailbox else layout.given.get("SMTP_PORT", "25"),
        "ADMIN_EMAILS": layout.given.get("ADMIN_EMAILS", "admin@example.com"),
        "VERIFICATION_KEYS": layout.given.get("VERIFICATION_KEYS") or keys(layout)["VERIFICATION_KEYS"],
        **{f"{service.upper()}_PORT": str(layout.port(f"{service.upper()}_PORT")) for service in SERVICES},
        **{
            f"{service.upper()}_METRICS_PORT": str(layout.port(f"{service.upper()}_METRICS_PORT"))
            for service in SERVICES
        },
        **{
            f"{service.upper()}_URL": layout.given.get(f"{service.upper()}_URL")
            or f"http://127.0.0.1:{layout.port(f'{service.upper()}_PORT')}"
            for service in DATABASES
        },
    }


ADDRESSES = (
    "PUBLIC_URL",
    "KAFKA_BOOTSTRAP_SERVERS",
    "KAFKA_PREFIX",
    "REDIS_URL",
    *(f"{n.upper()}_URL" for n in DATABASES),
)


def write_for_operator(layout: Layout) -> None:
    """Keep the addresses in `operator.env`, where the `rapport` command looks for them."""
    found = shared(layout)
    lines = [f"{name}={shlex.quote(found[name])}\n" for name in ADDRESSES if name in found]
    _write_private(layout.home / "operator.env", "".join(lines))


def of(layout: Layout, service: str) -> dict[str, str]:
    """The environment of one service, or of the `operator`."""
    environment = shared(layout)
    for name in OWN_SECRETS.get(service, ()):
        environment[name] = layout.given.get(name) or keys(layout)[name]
    if service in DATABASES:
        environment[f"{service.upper()}_DATABASE_URL"] = database_url(layout, service)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(CHECKOUT), environment.get("PYTHONPATH"))))
    return environment
