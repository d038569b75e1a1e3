"""What is checked before anything starts: the folder, the disk, every setting, and the servers that are given."""

import os
import shutil
import socket
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from deploy.local import environment, private
from deploy.local.broker_check import lists_a_broker
from deploy.local.layout import SERVICES, Layout
from deploy.local.processes import LocalError, wait_until
from services.chassis.errors import CannotStart
from services.chassis.mail.smtp import SmtpSettings
from services.chassis.runtime.setting_types import split_host
from services.chassis.runtime.settings import sentences

NEEDED_BYTES = 200 * 1024 * 1024
PATIENCE_SECONDS = 5.0  # for a given server that is just starting
MAILERS = ("people", "notify")


def check_home(layout: Layout) -> None:
    """Check that the folder of the stack can be written and that its disk is not full.

    Raises:
        LocalError: one of them is not so; the message names RAPPORT_HOME.
    """
    probe = layout.home / f".probe-{os.getpid()}"
    try:
        private.close_home(layout.home)
        try:
            probe.write_bytes(bytes(4096))
        finally:
            probe.unlink(missing_ok=True)
        free = shutil.disk_usage(layout.home).free
    except OSError as error:
        raise LocalError(disk_problem(layout, error)) from None
    if free < NEEDED_BYTES:
        raise LocalError(
            f"The disk of {layout.home} is full: Rapport needs {NEEDED_BYTES // 2**20} MB, {free // 2**20} are free. "
            "Free some, or set RAPPORT_HOME to a folder on another disk."
        )


def disk_problem(layout: Layout, error: OSError) -> str:
    """Return the sentence for an error of the file system."""
    where = f" ({error.filename})" if error.filename else ""
    return (
        f"Rapport cannot write to {layout.home}: {error.strerror or error}{where}. "
        "Set RAPPORT_HOME to a folder that you may write to, on a disk with room."
    )


def check_settings(layout: Layout) -> None:
    """Check the settings of every service as it would read them.

    Raises:
        LocalError: some cannot work; one line for each, naming its variable.
    """
    found: dict[str, None] = {}  # in order, each once
    for service in SERVICES:
        try:
            given = environment.of(layout, service)
        except CannotStart as refusal:
            found[str(refusal)] = None
            continue
        kind: type[BaseSettings] = getattr(
            import_module(f"services.{service}.settings"), f"{service.capitalize()}Settings"
        )
        for one in (kind, SmtpSettings) if service in MAILERS else (kind,):
            found |= dict.fromkeys(_refused(one, given))
    if found:
        raise LocalError("\n".join(found))


def _refused(kind: type[BaseSettings], given: Mapping[str, str]) -> list[str]:
    values: dict[str, Any] = {field: given[field.upper()] for field in kind.model_fields if field.upper() in given}
    try:
        kind(**values)
    except ValidationError as error:
        return sentences(kind, error)
    return []


def check_given_servers(layout: Layout) -> None:
    """Check that the servers answer that the environment names instead of local ones; databases are checked later.

    Raises:
        LocalError: one does not; the message names its variable.
    """
    if not layout.needs_kafka:
        servers = [split_host(one.strip()) for one in layout.bootstrap.split(",")]
        _check(
            "Kafka", layout.bootstrap, "KAFKA_BOOTSTRAP_SERVERS",
            lambda: any(_answers(layout, host.strip("[]"), port or 9092) for host, port in servers),
        )  # fmt: skip
    redis = urlsplit(layout.given.get("REDIS_URL") or "")
    if redis.hostname:
        place = (redis.hostname, redis.port or 6379)
        _check("Redis", "{}:{}".format(*place), "REDIS_URL", lambda: _accepts(*place))
    if not layout.needs_mailbox:
        mail = (layout.given["SMTP_HOST"], int(layout.given.get("SMTP_PORT") or 25))
        _check("the mail server", "{}:{}".format(*mail), "SMTP_HOST and SMTP_PORT", lambda: _accepts(*mail))


def _answers(layout: Layout, host: str, port: int) -> bool:
    """Return whether a broker answers; of one that wants a credential or TLS only whether it accepts connections."""
    plain = (layout.given.get("KAFKA_SECURITY_PROTOCOL") or "PLAINTEXT").upper() == "PLAINTEXT"
    return lists_a_broker(host, port) if plain else _accepts(host, port)


def _check(what: str, where: str, variable: str, answers: Callable[[], bool]) -> None:
    if not wait_until(answers, PATIENCE_SECONDS, pause=0.5):
        raise LocalError(f"Cannot connect to {what} at {where}: check {variable}.")


def _accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 2).close()
    except OSError:
        return False
    return True
