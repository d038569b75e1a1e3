"""A real pgbouncer in front of the databases of a test."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.installed import Installed, running_program
from tests.servers import Servers, free_port

CONFIG = """\
[databases]
* = host={host} port={upstream}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users
pool_mode = {mode}
default_pool_size = 4
server_round_robin = 1
logfile = {folder}/pgbouncer.out
{more}
"""


@contextmanager
def pgbouncer(
    servers: Servers | str, folder: Path, *, mode: str = "transaction", more: str = "", port: int | None = None
) -> Iterator[int]:
    """Run one inside the block and yield its port. Four server connections, each transaction gets the next of them.

    Args:
        servers: the shared servers, or the address of another one; the user in it is the only one.
    """
    upstream = urlsplit(servers if isinstance(servers, str) else servers.postgres_url("postgres"))
    folder.mkdir()
    (folder / "users").write_text(f'"{upstream.username}" "{upstream.password}"\n')
    port = port or free_port()
    config = CONFIG.format(
        host=upstream.hostname, upstream=upstream.port, port=port, folder=folder, mode=mode, more=more
    )
    with running_program(Installed("pgbouncer", folder, port, config, ["{config}"])):
        yield port


def through(url: str, port: int) -> str:
    """Return the address of the same database through the pooler."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{port}").geturl()
