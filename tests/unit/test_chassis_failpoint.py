"""Failpoints kill or pause the process or raise at the given pass, and do nothing otherwise."""

import os
import signal
import socket
import subprocess
import sys

LOOP = """
from services.chassis.runtime import failpoint
for number in range(5):
    failpoint.reach("here")
    print(number, flush=True)
"""


def run(failpoints: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", LOOP],
        env=os.environ | {"FAILPOINTS": failpoints},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def test_failpoint_kills_at_the_nth_pass() -> None:
    with run("elsewhere,here:3") as process:
        assert process.communicate(timeout=30)[0].split() == ["0", "1"]
        assert process.returncode == -signal.SIGKILL


def test_failpoint_pauses_once() -> None:
    with run("here:2:stop") as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        process.send_signal(signal.SIGCONT)
        assert process.communicate(timeout=30)[0].split() == ["0", "1", "2", "3", "4"]
        assert process.returncode == 0


def test_failpoint_raises_once() -> None:
    with run("here:2:raise") as process:
        assert process.communicate(timeout=30)[0].split() == ["0"]
        assert process.returncode == 1


def test_unarmed_failpoint_does_nothing() -> None:
    with run("") as process:
        assert len(process.communicate(timeout=30)[0].split()) == 5
        assert process.returncode == 0


REQUEST = """
import asyncio, sys
from services.chassis.runtime import failpoint

async def main():
    reader, writer = await asyncio.open_connection("127.0.0.1", int(sys.argv[1]))
    failpoint.reach_soon("requested")
    writer.write(b"commit")
    await reader.read()

asyncio.run(main())
"""


def test_failpoint_kills_between_a_request_and_its_response() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = [sys.executable, "-c", REQUEST, str(server.getsockname()[1])]
        with subprocess.Popen(command, env=os.environ | {"FAILPOINTS": "requested"}) as process:
            connection, _ = server.accept()
            with connection:
                assert process.wait(30) == -signal.SIGKILL
                assert connection.recv(100) == b"commit"
