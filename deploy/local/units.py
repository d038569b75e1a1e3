"""The processes of the local stack: their folders, ports and stop signals."""

import signal
from collections.abc import Callable

from deploy.local import environment, passwords
from deploy.local.kafka import Kafka
from deploy.local.layout import ALL_IN_ONE, SERVICES, Layout
from deploy.local.postgres import Postgres
from deploy.local.program import ForkedProgram, Program
from deploy.local.server import Server
from deploy.local.valkey import Valkey

STOP_SIGNALS = {"postgres": Postgres.stop_signal}  # by name; all others end on SIGTERM


def postgres(layout: Layout) -> Postgres:
    return Postgres(
        layout.home / "postgres",
        layout.port("POSTGRES_PORT"),
        log=layout.log_folder / "postgres.log",
        death_signal=Postgres.stop_signal,
    )


def valkey(layout: Layout) -> Valkey:
    return Valkey(
        layout.home / "valkey",
        layout.port("VALKEY_PORT"),
        password=passwords.of_valkey(layout),
        log=layout.log_folder / "valkey.log",
        death_signal=signal.SIGTERM,
    )


def kafka(layout: Layout, say: Callable[[str], None]) -> Kafka:
    return Kafka(
        layout.home / "kafka",
        layout.port("KAFKA_PORT"),
        layout.port("KAFKA_CONTROLLER_PORT"),
        accounts=passwords.of_broker(layout),
        say=say,
        log=layout.log_folder / "kafka.log",
        death_signal=signal.SIGTERM,
    )


def mailbox(layout: Layout) -> Program:
    web_port = layout.port("MAILBOX_PORT")
    folder = str(layout.home / "mail")
    arguments = [
        "deploy.local.mailbox",
        f"--folder={folder}",
        f"--smtp-port={layout.port('SMTP_PORT')}",
        f"--web-port={web_port}",
    ]
    return Program(
        "mailbox", arguments, web_port, log=layout.log_folder / "mailbox.log", environment=layout.given, path="/livez"
    )


def servers(layout: Layout, say: Callable[[str], None]) -> list[Server]:
    """Return the servers that this stack starts itself."""
    found: list[Server] = []
    if layout.needs_postgres:
        found.append(postgres(layout))
    if layout.needs_valkey:
        found.append(valkey(layout))
    if layout.needs_kafka:
        found.append(kafka(layout, say))
    if layout.needs_mailbox:
        found.append(mailbox(layout))
    return found


def process(layout: Layout, name: str) -> Program:
    """Return one of the processes of the services."""
    return all_in_one(layout) if name == ALL_IN_ONE else service(layout, name)


def all_in_one(layout: Layout) -> Program:
    """Return all services with all their roles in one process; ready when the metrics port of each says so."""
    port, *others = (layout.port(f"{name.upper()}_METRICS_PORT") for name in reversed(SERVICES))
    return Program(
        ALL_IN_ONE,
        ["services.all_in_one"],
        port,
        others=others,
        log=layout.log_folder / f"{ALL_IN_ONE}.log",
        environment=environment.for_all_in_one(layout),
    )


def service(layout: Layout, name: str) -> Program:
    """Return a service with all its roles in one process; ready when its metrics port says so."""
    return ForkedProgram(
        name,
        [f"services.{name}", "all"],
        layout.port(f"{name.upper()}_METRICS_PORT"),
        log=layout.log_folder / f"{name}.log",
        environment=environment.of(layout, name),
    )
