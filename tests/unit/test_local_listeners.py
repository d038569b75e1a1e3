"""Which program has a port, in the refusal of `make up`."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import checks
from deploy.local.layout import Layout
from deploy.local.listeners import listener
from deploy.local.processes import LocalError, free_port

LISTENER = (
    "import socket, sys; s = socket.socket(socket.AF_INET6 if sys.argv[1] == '6' else socket.AF_INET);"
    "s.bind(('::' if sys.argv[1] == '6' else '127.0.0.1', 0)); s.listen();"
    "print(s.getsockname()[1], flush=True); input()"
)


@pytest.fixture(params=["4", "6"])
def other(request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    """Yield the process and the port of another program."""
    command = [sys.executable, "-c", LISTENER, request.param, "--password=secret"]
    environment = {"RAPPORT_HOME": "/home/ada/.local"} if request.param == "4" else {}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())
        process.kill()


def test_the_program_that_has_a_port_is_named(other: tuple[int, int], tmp_path: Path) -> None:
    pid, port = other
    found = listener(port)
    assert found is not None
    assert found.startswith(f"{Path(sys.executable).name} (process {pid})")
    assert "secret" not in found
    with pytest.raises(LocalError, match=rf"port {port} \(POSTS_PORT\)\. On {port} it is .*\(process {pid}\)"):
        checks.check_ports(Layout(tmp_path, {"POSTS_PORT": str(port)}))


@pytest.mark.parametrize("other", ["4"], indirect=True)
def test_another_stack_is_named_by_its_folder(other: tuple[int, int]) -> None:
    assert (listener(other[1]) or "").endswith(" of the Rapport in /home/ada/.local")


def test_nobody_is_named_where_nobody_listens() -> None:
    assert listener(free_port()) is None
