"""`python -m deploy.local.kafka_archive`: make the archive of Kafka's classes as Java has loaded and linked them.

With it a broker starts in less than half of the processor time. Java 25 writes it when a broker ends that was started
for that (JEP 514), which takes some ten seconds of a processor. So it is made once for a version of Kafka and Java, by
a broker of its own, in the background after a start without one. It stands beside the jars; tests use it too.
Java looks whether it fits, and does without one that does not.
"""

import os
import secrets
import signal
import sys
import tempfile
from pathlib import Path

from deploy.local.kafka import BROKER, Kafka
from deploy.local.processes import free_port

NICE = 19
MEMORY_MIB = 400  # of the broker, and of the Java that writes


class Training(Kafka):
    """A broker that leaves an archive when it is stopped. It knows accounts, so that their classes are in it."""

    stop_seconds = 300

    def __init__(self, folder: Path) -> None:
        accounts = {BROKER: secrets.token_hex(16)}
        super().__init__(folder, free_port(), free_port(), accounts=accounts, death_signal=signal.SIGKILL)

    @property
    def unfinished(self) -> Path:
        return self.archive.with_suffix(".new")

    def archive_options(self) -> list[str]:
        return [f"-XX:AOTCacheOutput={self.unfinished}"]


def main() -> None:
    """Make the archive. SIGTERM ends it, and nothing is left."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.nice(NICE)
    with tempfile.TemporaryDirectory(prefix="rapport-kafka-") as folder:
        broker = Training(Path(folder) / "kafka")
        try:
            broker.start()
            broker.stop()
            broker.unfinished.replace(broker.archive)
        finally:
            broker.kill()
            broker.unfinished.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
