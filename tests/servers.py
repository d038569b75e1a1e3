"""Real PostgreSQL, Valkey and Kafka for tests, started on first use, one set for all workers of a run.

The servers belong to a separate process (`python -m tests.servers SOCKET`). It waits for the end of its standard input,
so it stops the servers and deletes their folder when the run that started it ends for any reason.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from deploy.local.kafka import Kafka
from deploy.local.postgres import Postgres
from deploy.local.processes import LocalError, wait_until
from deploy.local.server import Server
from deploy.local.valkey import Valkey

S = TypeVar("S", bound=Server)

__all__ = ["PrivateServers", "Servers", "free_port"]


_held: list[socket.socket] = []


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that the kernel gives to no other process during the life of this one.

    A socket that is bound but does not listen keeps the port. A server that sets SO_REUSEADDR, as all of them do, can
    bind it anyway.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    _held.append(held)
    return int(held.getsockname()[1])


class Servers(ABC):
    """The addresses of the real servers."""

    @abstractmethod
    def _address(self, name: str) -> str:
        """Return the URL of PostgreSQL's `postgres` database, the URL of Valkey, or Kafka's bootstrap address."""

    @cached_property
    def _postgres(self) -> str:
        return self._address("postgres")

    def postgres_url(self, database: str) -> str:
        """Return the URL of a database as its superuser, whether the database exists or not."""
        return urlsplit(self._postgres)._replace(path=f"/{database}").geturl()

    @cached_property
    def redis_url(self) -> str:
        return self._address("valkey")

    @cached_property
    def kafka(self) -> str:
        return self._address("kafka")


class PrivateServers(Servers):
    """Servers that a test may kill and start again: `postgres`, `valkey`, `broker`.

    Attributes:
        durable: False turns PostgreSQL's fsync off.
    """

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        self.folder = folder
        self.durable = durable
        self._started: list[Server] = []

    @cached_property
    def postgres(self) -> Postgres:
        return self._start(Postgres(self.folder / "postgres", free_port(), durable=self.durable))

    @cached_property
    def valkey(self) -> Valkey:
        return self._start(Valkey(self.folder / "valkey", free_port()))

    @cached_property
    def broker(self) -> Kafka:
        return self._start(Kafka(self.folder / "kafka", free_port(), free_port(), heap="384m"))

    def _start(self, server: S) -> S:
        server.start()
        self._started.append(server)
        return server

    def stop(self) -> None:
        """Stop them all, the last started first."""
        for server in reversed(self._started):
            server.stop()

    def _address(self, name: str) -> str:
        match name:
            case "postgres":
                return self.postgres.url()
            case "valkey":
                return self.valkey.url
            case "kafka":
                return self.broker.bootstrap
        raise ValueError(name)


class SharedServers(Servers):
    """The servers of the whole run, reached through the socket of their process."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def _address(self, name: str) -> str:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.path))
            connection.sendall(name.encode() + b"\n")
            with connection.makefile() as answer:
                reply = json.loads(answer.readline())
        if "error" in reply:
            raise LocalError(reply["error"])
        return str(reply["address"])


class ServerRegistry:
    """The process that owns the shared servers, started by the run."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="rapport-tests-"))
        self.path = self.folder / "socket"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.servers", str(self.path)],
            stdin=subprocess.PIPE,
            cwd=Path(__file__).parent.parent,
            start_new_session=True,
        )
        if not wait_until(lambda: self.path.exists() or self._process.poll() is not None, 20) or not self.path.exists():
            raise LocalError("the process of the test servers did not start")

    def close(self) -> None:
        """Stop the servers and wait for their end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)


def serve(path: Path) -> None:
    """Answer each line (a server's name) with its address until standard input ends."""
    servers = PrivateServers(path.parent, durable=False)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            name = self.rfile.readline().decode().strip()
            try:
                answer = {"address": servers._address(name)}
            except (LocalError, OSError) as error:
                answer = {"error": str(error)}
            self.wfile.write(json.dumps(answer).encode() + b"\n")

    def end_with_input() -> None:
        sys.stdin.buffer.read()
        os.kill(os.getpid(), signal.SIGTERM)

    def stop(*_: object) -> None:
        raise SystemExit

    # One request after the other, in the main thread: the servers die with the thread that started them.
    hidden = path.with_suffix(".new")
    with socketserver.UnixStreamServer(str(hidden), Handler) as server:
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Thread(target=end_with_input, daemon=True).start()
        hidden.rename(path)
        try:
            server.serve_forever()
        finally:
            servers.stop()
            shutil.rmtree(path.parent, ignore_errors=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("socket", type=Path)
    serve(parser.parse_args().socket)
