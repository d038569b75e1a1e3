"""Processes as they are started: signals, drain, crashes, health, logs."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from typing import Any

import pytest

from tests.waiting import eventually


class House:
    """A process of `process_house`."""

    def __init__(self, http_port: int, metrics_port: int, role: str, scenario: str, drain: float = 15) -> None:
        self.http_port, self.metrics_port = http_port, metrics_port
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.process_harness", *([role] if role else [])],
            env=os.environ
            | {
                "HTTP_PORT": str(http_port),
                "METRICS_PORT": str(metrics_port),
                "SCENARIO": scenario,
                "DRAIN_SECONDS": str(drain),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def get(self, path: str, *, metrics: bool = True) -> tuple[int, str] | None:
        """Status and body, or None while nobody listens."""
        connection = HTTPConnection("127.0.0.1", self.metrics_port if metrics else self.http_port, timeout=5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except OSError:
            return None
        finally:
            connection.close()

    def end(self, timeout: float = 20) -> tuple[int, list[dict[str, Any]], str]:
        """Wait for its end: status, log lines, standard error."""
        out, err = self.process.communicate(timeout=timeout)
        return self.process.returncode, [json.loads(line) for line in out.splitlines()], err


Start = Callable[..., House]


@pytest.fixture
def start(free_port: Callable[[], int]) -> Iterator[Start]:
    houses: list[House] = []

    def make(role: str = "all", scenario: str = "", **rest: Any) -> House:
        houses.append(House(free_port(), free_port(), role, scenario, **rest))
        return houses[-1]

    yield make
    for house in houses:
        if house.process.poll() is None:
            house.process.kill()
            house.process.communicate()


async def up(house: House) -> House:
    await eventually(lambda: (house.get("/readyz") or (0,))[0] and house.get("/", metrics=False), timeout=20)
    return house


async def test_health_and_metrics_have_a_port_of_their_own(start: Start) -> None:
    house = await up(start())
    assert house.get("/livez") == (200, '{"status":"alive"}')
    assert house.get("/readyz?verbose") == (200, '{"running":true,"database":true}')
    status, metrics = house.get("/metrics") or (0, "")
    assert status == 200
    assert "rapport_loop_lag_seconds" in metrics
    assert "process_resident_memory_bytes" in metrics
    assert house.get("/elsewhere") == (404, "")
    with socket.create_connection(("127.0.0.1", house.metrics_port)) as rubbish:
        rubbish.sendall(b"rubbish\r\n\r\n" + b"x" * 20_000)
    assert house.get("/livez") == (200, '{"status":"alive"}')


@pytest.mark.parametrize("scenario", ["ill", "raises"])
async def test_a_failed_check_is_not_ready(start: Start, scenario: str) -> None:
    house = await up(start(scenario=scenario))
    assert house.get("/readyz") == (503, '{"running":true,"database":false}')
    assert house.get("/livez") == (200, '{"status":"alive"}')


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains(start: Start, number: signal.Signals) -> None:
    """The request under way is answered; what takes work in ends first, the relay last, what they share after that."""
    house = await up(start())
    answers: list[tuple[int, str] | None] = []
    request = threading.Thread(target=lambda: answers.append(house.get("/slow", metrics=False)))
    request.start()
    await asyncio.sleep(0.2)  # the request is being worked on
    house.process.send_signal(number)
    await eventually(lambda: (house.get("/readyz") or (0,))[0] == 503)
    status, lines, _ = await asyncio.to_thread(house.end)
    request.join()
    assert answers == [(200, "ok")]
    assert status == 0
    messages = [(line["message"], line.get("role")) for line in lines]
    order = [messages.index(entry) for entry in [("role ends", "consumer"), ("role ends", "relay"), ("closed", None)]]
    assert order == sorted(order)
    assert messages[-1] == ("ended", None)


async def test_one_role_alone(start: Start) -> None:
    house = start("consumer")
    await eventually(lambda: house.get("/readyz"), timeout=20)
    assert house.get("/", metrics=False) is None
    house.process.terminate()
    status, lines, _ = await asyncio.to_thread(house.end)
    assert status == 0
    assert [line["role"] for line in lines if line["message"] == "role ends"] == ["consumer", "relay"]


@pytest.mark.parametrize(
    ("scenario", "why"),
    [("crash", "broken\nin two lines"), ("end", "nobody had asked it to"), ("cancel", "CancelledError")],
)
async def test_a_role_that_crashes_ends_the_process_in_order(start: Start, scenario: str, why: str) -> None:
    status, lines, _ = await asyncio.to_thread(start(scenario=scenario).end)
    assert status == 1
    [crash] = [line for line in lines if line["message"] == "a role crashed"]
    assert crash["role"] == "consumer"
    assert why in crash["error"]
    assert crash["level"] == "critical"
    assert crash["service"] == "house"
    assert crash["exception"][0]["exc_type"] in ("ValueError", "RuntimeError", "CancelledError")
    assert "do not show this" not in json.dumps(lines)
    assert [line["role"] for line in lines if line["message"] == "role ends"] == ["relay"]


async def test_a_drain_has_a_hard_deadline(start: Start) -> None:
    house = await up(start(scenario="ignore", drain=1))
    began = time.monotonic()
    house.process.terminate()
    status, lines, err = await asyncio.to_thread(house.end)
    assert status == 1
    assert 0.9 < time.monotonic() - began < 6
    assert lines[-1]["message"] == "the drain took too long; ending now"
    assert "Thread" in err


async def test_a_loop_that_does_not_turn_ends_the_process(start: Start) -> None:
    status, _, err = await asyncio.to_thread(start(scenario="block").end)
    assert status == 1
    assert "the event loop has not turned for 2 s" in err
    assert "in block" in err


async def test_a_busy_port_is_named(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        house = House(port, 0, "all", "")
        status, lines, _ = await asyncio.to_thread(house.end)
    assert status == 1
    [crash] = [line for line in lines if line["message"] == "a role crashed"]
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in crash["error"]


async def test_a_busy_metrics_port_is_named(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        house = House(0, port, "all", "")
        status, lines, _ = await asyncio.to_thread(house.end)
    assert status == 1
    assert str(port) in json.dumps(lines)


def test_migrate_does_that_and_ends(start: Start) -> None:
    status, lines, _ = start("migrate").end()
    assert status == 0
    assert [line["message"] for line in lines] == ["migrated"]


@pytest.mark.parametrize("role", ["", "mailer", "all of them"])
def test_an_unknown_role_is_told_the_known_ones(start: Start, role: str) -> None:
    status, _, err = start(role).end()
    assert status == 2
    assert "usage: python -m services.house api|consumer|all|migrate" in err
