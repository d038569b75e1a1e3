"""Memory and disk: what a stack needs, beside what this machine has."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from deploy.local.layout import Layout
from deploy.local.processes import LocalError

MIB = 1024 * 1024


@dataclass(frozen=True)
class Room:
    """Memory and disk in MiB."""

    memory: int
    disk: int

    def __add__(self, other: "Room") -> "Room":
        return Room(self.memory + other.memory, self.disk + other.disk)


# memory as `make status` shows it for a stack that has just begun, and a tenth more; disk with room to begin with
SUPERVISOR = Room(35, 20)  # its disk is for logs
SERVICE = Room(42, 10)
ALL_IN_ONE = Room(110, 20)
MAILBOX = Room(35, 10)
VALKEY = Room(10, 10)
POSTGRES = Room(50, 150)
KAFKA = Room(175, 70)
JARS = Room(0, 65)  # Kafka's, until they are there


def needed(layout: Layout) -> Room:
    """Return what the parts need that this stack starts itself."""
    processes = layout.processes
    parts = [SUPERVISOR, *([SERVICE] * len(processes) if len(processes) > 1 else [ALL_IN_ONE])]
    parts += [POSTGRES] * layout.needs_postgres + [VALKEY] * layout.needs_valkey + [MAILBOX] * layout.needs_mailbox
    if layout.needs_kafka:
        parts += [KAFKA] if (layout.home / "kafka").exists() else [KAFKA, JARS]
    return sum(parts, Room(0, 0))


def free(layout: Layout) -> Room:
    """Return what is free on this machine, and on the disk of the stack's folder."""
    return Room(free_memory() // MIB, shutil.disk_usage(layout.home).free // MIB)


def free_memory(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the bytes that new processes can have: the machine's with its swap, less if a control group has less.

    Args:
        groups: where control groups of version 2 are mounted; the limits of the process's own and all above it count.
    """
    lines = (line.split() for line in (proc / "meminfo").read_text().splitlines())
    machine = {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines}
    found = machine["MemAvailable"] + machine["SwapFree"]
    try:
        own = (proc / "self/cgroup").read_text().strip().rpartition("::")[2].lstrip("/")
    except OSError:
        return found
    folder = groups / own
    for group in (folder, *folder.parents):
        if group.is_relative_to(groups):
            found = min(found, _left_in(group, found))
    return found


def _left_in(group: Path, otherwise: int) -> int:
    """Return what a control group may still have; memory of files that it can give back counts as free."""
    try:
        most = int((group / "memory.max").read_text())
        used = int((group / "memory.current").read_text())
        kept = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return max(0, most - used + int(kept.get("inactive_file", 0)))
    except (OSError, ValueError):  # no such group here, or `max`: it has no limit
        return otherwise


def sentence(needs: Room, has: Room) -> str:
    """Return the sentence that is printed before anything starts."""
    return (
        f"it needs {needs.memory} MiB of memory and {needs.disk} MiB of disk; {has.memory} and {has.disk} MiB are free"
    )


def check(layout: Layout, needs: Room, has: Room) -> None:
    """Check that there is room for the stack.

    Raises:
        LocalError: something is missing; one line for each, with how much and what to do.
    """
    missing = []
    if has.memory < needs.memory:
        missing.append(
            f"Rapport needs {needs.memory} MiB of memory, {has.memory} are free: {needs.memory - has.memory} MiB are "
            "missing. End other programs, add swap, or use a server elsewhere (KAFKA_BOOTSTRAP_SERVERS saves "
            f"{KAFKA.memory})."
        )
    if has.disk < needs.disk:
        missing.append(disk_sentence(layout, needs, has))
    if missing:
        raise LocalError("\n".join(missing))


def disk_sentence(layout: Layout, needs: Room, has: Room) -> str:
    """Return what is missing on the disk, and what to do."""
    return (
        f"The disk of {layout.home} is full: Rapport needs {needs.disk} MiB, {has.disk} are free, "
        f"{needs.disk - has.disk} are missing. Free some, or set RAPPORT_HOME to a folder on another disk."
    )


def disk_problem(layout: Layout, error: OSError) -> str:
    """Return the sentence for an error of the file system."""
    where = f" ({error.filename})" if error.filename else ""
    return (
        f"Rapport cannot write to {layout.home}: {error.strerror or error}{where}. "
        "Set RAPPORT_HOME to a folder that you may write to, on a disk with room."
    )
