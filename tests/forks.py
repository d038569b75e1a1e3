"""Programs of this checkout as forks of a process that has loaded their code: loading takes a second each time.

`make up` runs the services so too.
"""

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from deploy.local.forked import Forked, fork, load
from deploy.local.processes import set_name
from services.chassis.runtime import failpoint

ROOT = Path(__file__).parent.parent
PROGRAMS = ("posts", "comments", "people", "notify", "gateway", "all_in_one", "operator")
LONGEST = 1 << 17  # bytes of a request


class Fork(Forked):
    """A child of the process that has loaded the code, which alone is told of its end."""

    def __init__(self, loaded: "Loaded", pid: int) -> None:
        super().__init__(pid)
        self._loaded = loaded

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._loaded.ask(poll=self.pid)
        return self.returncode


class Loaded:
    """The process that has loaded the code. It ends with this one, and the kernel ends its forks."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.forks"],
                stdin=other.fileno(),
                cwd=ROOT,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )

    def start(
        self,
        program: str,
        *arguments: str,
        environment: Mapping[str, str],
        log: Path,
        errors: Path | None = None,
    ) -> Fork:
        """Start what `python -m services.PROGRAM ARGUMENTS` starts; `log` gets what it prints.

        Args:
            errors: a file of its own for standard error.
        """
        files = {"log": str(log), "errors": str(errors or "")}
        return Fork(self, self.ask(program=program, arguments=arguments, environment=dict(environment), **files))

    def ask(self, **request: object) -> Any:
        """Send a request, and return the answer."""
        with self._turn:
            self._socket.send(json.dumps(request).encode())
            return json.loads(self._socket.recv(LONGEST))


@cache
def loaded() -> Loaded:
    """Return the process that has loaded the code, which is started once."""
    return Loaded()


def main() -> None:
    """Become the program that the request for this fork names."""
    _, program, errors, *arguments = sys.argv
    set_name(program)
    sys.argv = [program, *arguments]
    if errors:
        os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND), sys.stderr.fileno())
    importlib.reload(failpoint)  # it read the environment when it was loaded
    importlib.import_module(f"services.{program}.__main__").main()


def serve() -> None:
    """Answer requests for forks and for their ends until the other end of standard input is closed."""
    load(["tests.forks", *(f"services.{program}.__main__" for program in PROGRAMS)])
    children: dict[int, Forked] = {}
    requests = socket.socket(fileno=0)  # forks have another standard input
    while request := requests.recv(LONGEST):
        match json.loads(request):
            case {"poll": pid}:
                answer = children[pid].poll()
            case {"program": program, "arguments": arguments, "environment": environment, "log": log, "errors": errors}:
                child = fork(
                    "tests.forks",
                    [program, errors, *arguments],
                    log=Path(log),
                    environment=environment,
                    death_signal=signal.SIGKILL,
                )
                children[child.pid] = child
                answer = child.pid
        requests.send(json.dumps(answer).encode())


if __name__ == "__main__":
    serve()
