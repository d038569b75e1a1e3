"""Real programs of other people around Rapport, from the machine's own packages: pgbouncer, nginx, haproxy, Prometheus.

A test that needs a missing one is skipped with a reason; `.ci/run` installs them all.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.local.processes import wait_until, without_root
from deploy.local.server import Server

PLACES = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])

PACKAGES = {"nginx": "nginx-light", "promtool": "prometheus"}  # whose name is not the program's


def program(name: str) -> str:
    """Return the path of an installed program; skip the test if there is none."""
    found = shutil.which(name, path=PLACES)
    if found is None:
        pytest.skip(f"{name} is not installed: apt-get install {PACKAGES.get(name, name)}")
    return found


class Installed(Server):
    """One installed program with a configuration file of its own.

    Args:
        arguments: the command line after the program; `{config}` and `{folder}` are filled in.
        accepts: returns whether it answers.
    """

    start_seconds = 20

    def __init__(self, name: str, folder: Path, port: int, config: str, arguments: Sequence[str]) -> None:
        self.name = name
        super().__init__(folder, port)
        self._program = program(name)
        self._config = config
        self._arguments = arguments

    @property
    def config_file(self) -> Path:
        return self.folder / f"{self.name}.conf"

    def prepare(self) -> None:
        self.config_file.write_text(self._config)

    def command(self) -> Sequence[str | Path]:
        filled = [each.format(config=self.config_file, folder=self.folder) for each in self._arguments]
        prefix = without_root(self.folder / "data", Path(self._program)) if self.name == "pgbouncer" else []
        return [*prefix, self._program, *filled]

    def ready(self) -> bool:
        import socket

        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True


@contextmanager
def running_program(server: Installed) -> Iterator[Installed]:
    """Run it inside the block."""
    server.start()
    try:
        yield server
    finally:
        server.stop()
        wait_until(lambda: not server.alive, 10)
