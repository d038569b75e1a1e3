"""What a process and its children really cost: proportional set size, shared pages counted once."""

from collections.abc import Iterator
from pathlib import Path


def session_memory(leader: int) -> int:
    """Bytes (PSS) of all processes in the session of `leader`, which are it and its children."""
    return sum(proportional_set_size(pid) for pid in members(leader))


def members(leader: int) -> Iterator[int]:
    """The processes of a session."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            session = (folder / "stat").read_text().rpartition(")")[2].split()[3]
        except OSError:  # it has just ended
            continue
        if int(session) == leader:
            yield int(folder.name)


def proportional_set_size(pid: int) -> int:
    """Bytes; 0 for a process that has ended or belongs to somebody else."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
