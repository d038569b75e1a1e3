"""What is checked before anything starts: the folder, the disk, settings, ports, and the servers that are given."""

import os
import shutil
import socket
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from deploy.local import environment, private, resources
from deploy.local.layout import SERVICES, Layout
from deploy.local.listeners import listener
from deploy.local.processes import LocalError, free_port, port_is_taken, wait_until
from services.chassis.errors import CannotStart
from services.chassis.mail.smtp import SmtpSettings
from services.chassis.runtime.settings import sentences

RUNNING = resources.Room(0, 50)  # for a stack that has its data already
PATIENCE_SECONDS = 5.0  # for a given server that is just starting
CREDENTIAL = ("KAFKA_SECURITY_PROTOCOL", "KAFKA_SASL_MECHANISM", "KAFKA_USERNAME", "KAFKA_PASSWORD", "KAFKA_CA_FILE")
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
        free = shutil.disk_usage(layout.home).free // resources.MIB
    except OSError as error:
        raise LocalError(resources.disk_problem(layout, error)) from None
    if free < RUNNING.disk:
        raise LocalError(resources.disk_sentence(layout, RUNNING, resources.Room(0, free)))


def check_settings(layout: Layout) -> None:
    """Check the ports, and the settings of every service as it would read them.

    Raises:
        LocalError: some cannot work; one line for each, naming its variable.
    """
    found: dict[str, None] = {}  # in order, each once
    try:
        layout.ports_needed()
    except LocalError as refusal:
        found |= dict.fromkeys(str(refusal).splitlines())
        layout = layout.with_sound_ports()
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


def check_ports(layout: Layout) -> None:
    """Check that every port is free.

    Raises:
        LocalError: another program listens on one of the ports.
    """
    taken = [(name, port) for name, port in sorted(layout.ports_needed().items()) if port_is_taken(port)]
    if taken:
        named = ", ".join(f"{port} ({name})" for name, port in taken)
        free: dict[int, str] = {}
        for name, _ in taken:
            while (port := free_port()) in free:
                pass
            free[port] = name
        chosen = " ".join(f"{name}={port}" for port, name in free.items())
        what, it = ("ports", "them") if len(taken) > 1 else ("port", "it")
        known = {port: holder for _, port in taken if (holder := listener(port))}
        seen = "".join(f" On {port} it is {holder}." for port, holder in known.items())
        raise LocalError(
            f"Another program listens on {what} {named}.{seen} Stop {it}, or start with:\n    {chosen} make up"
        )


def check_given_servers(layout: Layout) -> None:
    """Check that the servers answer that the environment names instead of local ones; databases are checked later.

    Raises:
        LocalError: one does not; the message names its variable.
    """
    if not layout.needs_kafka:
        from deploy.local import broker_access  # 10 MiB, and only for a given broker

        variables = ["KAFKA_BOOTSTRAP_SERVERS", *(name for name in CREDENTIAL if layout.given.get(name))]
        _check("Kafka", layout.bootstrap, *variables, answers=lambda: broker_access.is_reached(layout))
    redis = urlsplit(layout.given.get("REDIS_URL") or "")
    if redis.hostname:
        where = f"{redis.hostname}:{redis.port or 6379}"
        authorities = layout.given.get("REDIS_CA_FILE") or ""
        variables = ["REDIS_URL", *(["REDIS_CA_FILE"] if authorities else [])]
        _check("Redis", where, *variables, answers=lambda: _pings(layout.given["REDIS_URL"], authorities))
    if not layout.needs_mailbox:
        mail = (layout.given["SMTP_HOST"], int(layout.given.get("SMTP_PORT") or 25))
        _check("the mail server", "{}:{}".format(*mail), "SMTP_HOST", "SMTP_PORT", answers=lambda: _accepts(*mail))


def _check(what: str, where: str, *variables: str, answers: Callable[[], bool]) -> None:
    if not wait_until(answers, PATIENCE_SECONDS, pause=0.5):
        *first, last = variables
        named = f"{', '.join(first)} and {last}" if first else last
        raise LocalError(f"Cannot connect to {what} at {where}: check {named}.")


def _pings(url: str, authorities: str) -> bool:
    """Return whether the server answers and accepts the password in its address."""
    from redis import Redis  # 14 MiB, and only for a given server
    from redis.exceptions import RedisError

    try:
        trusted = {"ssl_ca_certs": authorities} if authorities else {}
        with Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2, **trusted) as client:
            return bool(client.ping())
    except (RedisError, OSError):
        return False


def _accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 2).close()
    except OSError:
        return False
    return True
