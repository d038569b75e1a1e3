"""Rapport's own processes, run like the servers: `python -m …`, ready when their HTTP check says so."""

import http.client
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from deploy.local.forked import fork
from deploy.local.layout import CHECKOUT
from deploy.local.processes import Child
from deploy.local.server import Server


class Program(Server):
    """`python -m MODULE ARGUMENTS`, ready when `path` on its port answers 200, and on those of all services in it.

    A process drains for up to 15 s after SIGTERM, so it gets a little more time to end.
    """

    stop_seconds: ClassVar[float] = 20

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        port: int,
        *,
        log: Path,
        environment: Mapping[str, str],
        path: str = "/readyz",
        others: Sequence[int] = (),
    ) -> None:
        self.name = name
        super().__init__(CHECKOUT, port, log=log, death_signal=signal.SIGTERM)
        self._arguments = arguments
        self._environment = environment
        self._path = path
        self._ports = (port, *others)

    def prepare(self) -> None:
        """Do nothing: services store their state elsewhere."""

    def command(self) -> Sequence[str | Path]:
        return [sys.executable, "-m", *self._arguments]

    def environment(self) -> Mapping[str, str]:
        return self._environment

    def ready(self) -> bool:
        return all(http_status(port, self._path) == 200 for port in self._ports)


class ForkedProgram(Program):
    """A service whose code the supervisor has loaded; see `forked.py`."""

    def begin(self) -> Child:
        module, *arguments = self._arguments
        return fork(
            f"{module}.__main__",
            arguments,
            log=self.log,
            environment=self._environment,
            death_signal=self.death_signal,
        )


def http_status(port: int, path: str, timeout: float = 1) -> int | None:
    """Return the status of a GET to this machine, None when there is no answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
