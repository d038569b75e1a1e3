"""Real processes: signals, drain, crashes, health checks, logs."""

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


class ServiceProcess:
    """A process of `process_harness`."""

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
        """Return status and body, or None if the port is closed."""
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
        """Wait for the end; return status, log lines and standard error."""
        out, err = self.process.communicate(timeout=timeout)
        return self.process.returncode, [json.loads(line) for line in out.splitlines()], err


Start = Callable[..., ServiceProcess]


@pytest.fixture
def start(free_port: Callable[[], int]) -> Iterator[Start]:
    started: list[ServiceProcess] = []

    def make(role: str = "all", scenario: str = "", **rest: Any) -> ServiceProcess:
        started.append(ServiceProcess(free_port(), free_port(), role, scenario, **rest))
        return started[-1]

    yield make
    for service in started:
        if service.process.poll() is None:
            service.process.kill()
            service.process.communicate()


async def up(service: ServiceProcess) -> ServiceProcess:
    await eventually(lambda: (service.get("/readyz") or (0,))[0] and service.get("/", metrics=False), timeout=20)
    return service


async def test_health_and_metrics_on_the_monitoring_port(start: Start) -> None:
    service = await up(start())
    assert service.get("/livez") == (200, '{"status":"ok"}')
    assert service.get("/readyz?verbose") == (200, '{"status":"ok","parts":{"running":true,"database":true}}')
    status, metrics = service.get("/metrics") or (0, "")
    assert status == 200
    assert "rapport_loop_lag_seconds" in metrics
    assert "process_resident_memory_bytes" in metrics
    status, problem = service.get("/elsewhere") or (0, "")
    assert (status, json.loads(problem)["type"]) == (404, "/problems/not-found")
    with socket.create_connection(("127.0.0.1", service.metrics_port)) as rubbish:
        rubbish.sendall(b"rubbish\r\n\r\n" + b"x" * 20_000)
    assert service.get("/livez") == (200, '{"status":"ok"}')


@pytest.mark.parametrize("scenario", ["unhealthy", "raises"])
async def test_failed_check_is_not_ready(start: Start, scenario: str) -> None:
    service = await up(start(scenario=scenario))
    assert service.get("/readyz") == (503, '{"status":"not ready","parts":{"running":true,"database":false}}')
    assert service.get("/livez") == (200, '{"status":"ok"}')


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_drains_the_process(start: Start, number: signal.Signals) -> None:
    """The request in progress is finished; the relay ends after the other roles, shared resources close after it."""
    service = await up(start())
    answers: list[tuple[int, str] | None] = []
    request = threading.Thread(target=lambda: answers.append(service.get("/slow", metrics=False)))
    request.start()
    await asyncio.sleep(0.2)  # the request is in progress
    service.process.send_signal(number)
    await eventually(lambda: (service.get("/readyz") or (0,))[0] == 503)
    status, lines, _ = await asyncio.to_thread(service.end)
    request.join()
    assert answers == [(200, "ok")]
    assert status == 0
    messages = [(line["message"], line.get("role")) for line in lines]
    order = [messages.index(entry) for entry in [("role ends", "consumer"), ("role ends", "relay"), ("closed", None)]]
    assert order == sorted(order)
    assert messages[-1] == ("ended", None)


async def test_single_role(start: Start) -> None:
    service = start("consumer")
    await eventually(lambda: service.get("/readyz"), timeout=20)
    assert service.get("/", metrics=False) is None
    service.process.terminate()
    status, lines, _ = await asyncio.to_thread(service.end)
    assert status == 0
    assert [line["role"] for line in lines if line["message"] == "role ends"] == ["consumer", "relay"]


@pytest.mark.parametrize(
    ("scenario", "why"),
    [("crash", "broken\nin two lines"), ("end", "ended before it was stopped"), ("cancel", "CancelledError")],
)
async def test_crashed_role_ends_the_process_in_order(start: Start, scenario: str, why: str) -> None:
    status, lines, _ = await asyncio.to_thread(start(scenario=scenario).end)
    assert status == 1
    [crash] = [line for line in lines if line["message"] == "a role crashed"]
    assert crash["role"] == "consumer"
    assert why in crash["error"]
    assert crash["level"] == "critical"
    assert crash["service"] == "example"
    assert crash["exception"][0]["exc_type"] in ("ValueError", "RuntimeError", "CancelledError")
    assert "do not show this" not in json.dumps(lines)
    assert [line["role"] for line in lines if line["message"] == "role ends"] == ["relay"]


async def test_drain_has_a_deadline(start: Start) -> None:
    service = await up(start(scenario="ignore", drain=1))
    began = time.monotonic()
    service.process.terminate()
    status, lines, err = await asyncio.to_thread(service.end)
    assert status == 1
    assert 0.9 < time.monotonic() - began < 6
    assert lines[-1]["message"] == "the drain took too long; ending now"
    assert "Thread" in err


async def test_stuck_event_loop_ends_the_process(start: Start) -> None:
    status, _, err = await asyncio.to_thread(start(scenario="block").end)
    assert status == 1
    assert "the event loop was stuck for 2 s" in err
    assert "in block" in err


async def test_port_in_use_is_named(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        service = ServiceProcess(port, 0, "all", "")
        status, lines, _ = await asyncio.to_thread(service.end)
    assert status == 1
    [crash] = [line for line in lines if line["message"] == "a role crashed"]
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in crash["error"]


async def test_metrics_port_in_use_is_named(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        service = ServiceProcess(0, port, "all", "")
        status, lines, _ = await asyncio.to_thread(service.end)
    assert status == 1
    assert str(port) in json.dumps(lines)


def test_role_migrate_migrates_and_ends(start: Start) -> None:
    status, lines, _ = start("migrate").end()
    assert status == 0
    assert [line["message"] for line in lines] == ["migrated"]


@pytest.mark.parametrize("role", ["", "mailer", "all of them"])
def test_unknown_role_prints_the_usage(start: Start, role: str) -> None:
    status, _, err = start(role).end()
    assert status == 2
    assert "usage: python -m services.example api|consumer|all|migrate" in err
