"""Memory of a process and its children as proportional set size (PSS), which counts shared pages once."""

from collections.abc import Iterator
from pathlib import Path


def session_memory(leader: int) -> int:
    """Return the PSS in bytes of all processes in the session of `leader`."""
    return sum(proportional_set_size(pid) for pid in members(leader))


def members(leader: int) -> Iterator[int]:
    """Yield the processes of a session."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            session = (folder / "stat").read_text().rpartition(")")[2].split()[3]
        except OSError:  # the process has just ended
            continue
        if int(session) == leader:
            yield int(folder.name)


def proportional_set_size(pid: int) -> int:
    """Return the PSS in bytes, 0 for a process that has ended or belongs to another user."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
