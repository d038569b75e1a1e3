"""Real servers that speak TLS: the machine's own, because those of the wheels are built without it."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from secrets import token_urlsafe
from urllib.parse import quote

import pytest

from deploy.local import private
from deploy.local.postgres import Postgres
from deploy.local.processes import NOBODY, without_root

ONLY_TLS = "hostssl all all 127.0.0.1/32 scram-sha-256\n"


class PostgresWithTls(Postgres):
    """A cluster that takes nobody without TLS and a password; its certificate is for `localhost`.

    Args:
        pem: the server's certificate and its key.
    """

    def __init__(self, folder: Path, port: int, pem: Path) -> None:
        super().__init__(folder, port, durable=False)
        self.pem = pem

    def url(self, database: str = "postgres", user: str = "postgres", password: str | None = None) -> str:
        tls = f"sslmode=verify-full&sslrootcert={quote(str(self.pem), safe='')}"
        return f"postgresql://{user}:{password or self.password}@localhost:{self.port}/{database}?{tls}"

    def binary(self, name: str) -> Path:
        """Return the path of a program of the machine's newest PostgreSQL; skip the test if there is none."""
        found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
        if not found:
            pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
        return found[-1]

    def prepare(self) -> None:
        private.write(self.folder / "password", token_urlsafe(12))
        prefix = without_root(self.data, self.binary("initdb"))
        if prefix[:1] == ["setpriv"]:
            os.chown(self.folder / "password", NOBODY, NOBODY)
        options = ["--username=postgres", f"--pwfile={self.folder}/password", "--auth=scram-sha-256", "--locale=C"]
        command = [*prefix, str(self.binary("initdb")), f"--pgdata={self.data}", "--encoding=UTF8", *options]
        subprocess.run([*command, "--no-sync", "--no-instructions"], check=True, capture_output=True)
        (self.data / "pg_hba.conf").write_text(ONLY_TLS)
        shutil.copy(self.pem, self.data / "server.pem")
        (self.data / "server.pem").chmod(0o600)
        if prefix[:1] == ["setpriv"]:
            os.chown(self.data / "server.pem", NOBODY, NOBODY)

    def command(self) -> Sequence[str | Path]:
        tls = {"ssl": "on", "ssl_cert_file": "server.pem", "ssl_key_file": "server.pem"}
        return [*super().command(), *(part for key, value in tls.items() for part in ("-c", f"{key}={value}"))]
