"""Which core does what, and what each process has used of it."""

import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.servers import PrivateServers
from tests.stack import Stack

SERVER_CORE, LOAD_CORE = {0}, {1}
UNASKED = ("autovacuum", "checkpointer", "background writer")


def family(pid: int) -> list[psutil.Process]:
    """A process and everything it started."""
    top = psutil.Process(pid)
    return [top, *top.children(recursive=True)]


def pin(pids: Iterable[int], cores: set[int]) -> None:
    """Let the processes, and what they start, run on these cores only; threads that exist already too."""
    for pid in pids:
        for process in family(pid):
            for thread in process.threads():
                os.sched_setaffinity(thread.id, cores)


def pin_all(stack: Stack, servers: PrivateServers) -> None:
    """The product's processes and its database on one core; the load, Kafka and Valkey on the other."""
    os.sched_setaffinity(0, LOAD_CORE)
    pin({process.pid for process in (servers.broker.process, servers.valkey.process) if process}, LOAD_CORE)
    pin([_database(servers), *(part.process.pid for part in stack.parts.values())], SERVER_CORE)


def _database(servers: PrivateServers) -> int:
    process = servers.postgres.process
    assert process is not None
    return process.pid


class Spent:
    """Processor time that the parts of a stack use inside a block, in seconds; other programs do not count.

    with spent(stack, servers) as cost: ...
    cost.by_part  # {"gateway": 1.2, "comments, rendering": 0.1, "PostgreSQL": 0.8, ...}
    """

    def __init__(self) -> None:
        self.by_part: dict[str, float] = {}

    @property
    def total(self) -> float:
        return sum(self.by_part.values())


@contextmanager
def spent(stack: Stack, servers: PrivateServers) -> Iterator[Spent]:
    """See `Spent`. A process that ends inside the block does not count."""
    found, before = Spent(), _used(stack, servers)
    yield found
    for (name, pid), seconds in _used(stack, servers).items():
        found.by_part[name] = found.by_part.get(name, 0.0) + seconds - before.get((name, pid), 0.0)


def _used(stack: Stack, servers: PrivateServers) -> dict[tuple[str, int], float]:
    """Processor time of each process so far, with the part of the system that it belongs to."""
    used_by = {("PostgreSQL", each.pid): _seconds(each) for each in family(_database(servers)) if _serves(each)}
    for (service, role), part in stack.parts.items():
        top, *children = family(part.process.pid)
        used_by[service if role == "all" else f"{service} {role}", top.pid] = _seconds(top)
        used_by |= {(f"{service}, rendering", child.pid): _seconds(child) for child in children}
    return used_by


def _serves(process: psutil.Process) -> bool:
    """Whether a process of PostgreSQL works for requests. The others tidy up, and come when they want to."""
    try:
        title = " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False
    return not any(name in title for name in UNASKED)


def busy_seconds() -> float:
    """How long the product's core has worked since the machine started, for whatever program."""
    times = psutil.cpu_times(percpu=True)[min(SERVER_CORE)]
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)


def used(pid: int) -> float:
    """Return the processor time of one process so far, in seconds."""
    return _clock(pid)


def _seconds(process: psutil.Process) -> float:
    try:
        return _clock(process.pid)
    except OSError:  # it ended a moment ago
        return 0.0


def _clock(pid: int) -> float:
    """Read the processor time clock of another process, which counts nanoseconds; /proc shows hundredths of a second.

    This is how Linux makes the clock's number from that of the process (clock_getcpuclockid(3)).
    """
    return time.clock_gettime((~pid << 3) | 2)


def sizes(stack: Stack) -> dict[str, float]:
    """MB that the processes of each service hold now, what processes share counted once (proportional set size)."""
    found: dict[str, float] = {}
    for part in stack.parts.values():
        for process in family(part.process.pid):
            rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
            size = re.search(r"^Pss:\s+(\d+)", rollup, re.MULTILINE)
            found[part.service] = found.get(part.service, 0.0) + (int(size[1]) / 1024 if size else 0.0)
    return found
