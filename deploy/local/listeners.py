"""Find the program that listens on a port of this machine, from what Linux tells in `/proc`."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

LISTENING = "0A"  # the state, as in linux/tcp_states.h
PROC = Path("/proc")


def listener(port: int) -> str | None:
    """Return a description of the program that listens on the port, None where that cannot be seen.

    Another user's programs can be seen by root alone. Arguments are left out, because they may be secret.
    """
    inodes = set(_listening(port))
    if not inodes:
        return None
    for folder in PROC.glob("[0-9]*"):
        if not inodes.isdisjoint(_sockets(folder)):
            return _described(folder)
    return None


def _sockets(process: Path) -> Iterator[str]:
    """Yield the inodes of the sockets that a process has open; none of a process of somebody else."""
    with contextlib.suppress(OSError):
        for file in (process / "fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                name = str(file.readlink())
                if name.startswith("socket:["):
                    yield name[8:-1]


def _listening(port: int) -> Iterator[str]:
    """Yield the inodes of the sockets that listen on the port, at any address."""
    for table in ("tcp", "tcp6"):
        try:
            lines = (PROC / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[3] == LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]


def _described(folder: Path) -> str:
    words = _text(folder / "cmdline").split("\0")
    name = Path(words[0]).name or _text(folder / "comm").strip() or "a program"
    if words[1:2] == ["-m"]:
        name = " ".join([name, *words[1:3]])
    home = re.search(r"(?:^|\0)RAPPORT_HOME=([^\0]+)", _text(folder / "environ"))
    ours = f" of the Rapport in {home[1]}" if home else ""
    return f"{name} (process {folder.name}){ours}"


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""
