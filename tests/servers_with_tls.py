"""Real servers that speak TLS. PostgreSQL and Valkey are the machine's own: those of the wheels are built without."""

import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from secrets import token_urlsafe
from urllib.parse import quote

import pytest

from deploy.local import private
from deploy.local.kafka import BROKER, Kafka
from deploy.local.postgres import Postgres
from deploy.local.processes import NOBODY, without_root
from deploy.local.valkey import Valkey
from tests.installed import PLACES

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


SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required"


class KafkaWithTls(Kafka):
    """A broker whose clients need TLS and SCRAM-SHA-512; its certificate is for `localhost`.

    Args:
        pem: the broker's certificate and its key.
    """

    def __init__(
        self, folder: Path, port: int, controller_port: int, *, accounts: Mapping[str, str], pem: Path
    ) -> None:
        super().__init__(folder, port, controller_port, accounts=accounts)
        self.pem = pem
        known = (f"SCRAM-SHA-512=[name={name},password={password}]" for name, password in accounts.items())
        self.format_options = ["--standalone", *(part for one in known for part in ("--add-scram", one))]

    @property
    def bootstrap(self) -> str:
        return f"localhost:{self.port}"

    def _properties(self) -> str:
        chain, begin, key = self.pem.read_text().strip().partition("-----BEGIN PRIVATE KEY-----")
        chain, key = (part.replace("\n", "\\n") for part in (chain, begin + key))
        text = super()._properties()
        for plain, secret in {
            ",CLIENTS:SASL_PLAINTEXT": ",CLIENTS:SASL_SSL",
            f"advertised.listeners=CLIENTS://127.0.0.1:{self.port}": f"advertised.listeners=CLIENTS://{self.bootstrap}",
            "inter.broker.protocol=PLAIN": "inter.broker.protocol=SCRAM-SHA-512",
        }.items():
            assert plain in text
            text = text.replace(plain, secret)
        login = f'{SCRAM} username="{BROKER}" password="{self.accounts[BROKER]}";'
        return text + (
            "listener.name.clients.sasl.enabled.mechanisms=SCRAM-SHA-512\n"
            f"listener.name.clients.scram-sha-512.sasl.jaas.config={login}\n"
            f"ssl.keystore.type=PEM\nssl.keystore.certificate.chain={chain}\nssl.keystore.key={key}\n"
            f"ssl.truststore.type=PEM\nssl.truststore.certificates={chain}\n"
        )

    def ready(self) -> bool:
        """Return whether TLS is spoken; tests ask for the rest until they are answered."""
        try:
            with (
                socket.create_connection(("127.0.0.1", self.port), 2) as plain,
                ssl.create_default_context(cafile=self.pem).wrap_socket(plain, server_hostname="localhost"),
            ):
                return True
        except OSError:
            return False


class ValkeyWithTls(Valkey):
    """A server that takes nobody without TLS and a password; its certificate is for `localhost`.

    Args:
        pem: the server's certificate and its key.
    """

    def __init__(self, folder: Path, port: int, *, password: str, pem: Path) -> None:
        super().__init__(folder, port, password=password)
        self.pem = pem

    @property
    def url(self) -> str:
        return f"rediss://:{self.password}@localhost:{self.port}/0"

    def prepare(self) -> None:
        super().prepare()
        text = self.configuration.read_text().replace(f"port {self.port}\n", f"port 0\ntls-port {self.port}\n")
        files = "".join(f'{name} "{self.pem}"\n' for name in ("tls-cert-file", "tls-key-file", "tls-ca-cert-file"))
        private.write(self.configuration, text + files + "tls-auth-clients no\n")

    def command(self) -> Sequence[str | Path]:
        """Return the command with the machine's Valkey, or Redis; skip the test if there is none."""
        found = shutil.which("valkey-server", path=PLACES) or shutil.which("redis-server", path=PLACES)
        if found is None:
            pytest.skip("neither Valkey nor Redis is installed: apt-get install redis-server")
        return [found, self.configuration]

    def ready(self) -> bool:
        trusted = ssl.create_default_context(cafile=self.pem)
        try:
            with (
                socket.create_connection(("127.0.0.1", self.port), 1) as plain,
                trusted.wrap_socket(plain, server_hostname="localhost") as connection,
            ):
                connection.sendall(b"AUTH " + self.password.encode() + b"\r\n")
                return connection.recv(16).startswith(b"+OK")
        except OSError:
            return False
