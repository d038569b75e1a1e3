"""PostgreSQL started by an ordinary user, by root with a user namespace, and by root without one."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import processes
from deploy.local.postgres import Postgres
from deploy.local.processes import LocalError
from tests.servers import free_port


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder that every user may enter, unlike pytest's own."""
    made = Path(tempfile.mkdtemp())
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def without_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    found = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "unshare" else found(name))


def nobody_reaches(program: Path) -> bool:
    """Return whether the user `nobody` can run the program; a checkout in a private folder is unreachable."""
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "test", "-x", str(program)]
    return subprocess.run(command).returncode == 0


def passwords_beside(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir() if "password" in file.name)


@pytest.mark.parametrize("namespaces", [True, False])
def test_it_starts_stops_and_keeps_its_data(folder: Path, namespaces: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Postgres(folder / "postgres", free_port(), durable=False)
    if not namespaces:
        without_namespaces(monkeypatch)
        if os.geteuid() == 0 and not nobody_reaches(server.binary("initdb")):
            with pytest.raises(LocalError, match="as an ordinary user, or set the variables POSTS_DATABASE_URL"):
                server.start()
            return
    server.start()
    query(server, "create table kept as select 7 as seven")
    server.stop()
    assert not server.alive
    server.start()
    assert query(server, "select seven from kept") == "7"
    server.kill()
    server.start()
    assert query(server, "select current_setting('server_encoding') || ' ' || datlocale from pg_database limit 1") == (
        "UTF8 C.UTF-8"
    )
    server.stop()
    assert passwords_beside(server.folder) == ["password"]
    assert (server.folder / "password").stat().st_mode & 0o077 == 0


def query(server: Postgres, sql: str) -> str:
    command = [str(server.binary("psql")), "--no-psqlrc", "-At", "-c", sql, server.url()]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_without_any_way_the_message_says_what_to_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(LocalError, match="as an ordinary user, or set the variables POSTS_DATABASE_URL"):
        Postgres(folder / "postgres", free_port()).start()


def test_an_ordinary_user_needs_no_namespace(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert processes.without_root(folder, folder / "program") == []
