"""Files and folders that other users of this machine cannot read."""

import os
from pathlib import Path

# what a stack keeps in its home, besides tools; `.local` may be older than this rule
ENTRIES = ("keys.env", "operator.env", "database-passwords.json", "server-passwords.json", "state.json")
FOLDERS = ("postgres", "valkey", "kafka", "mail", "log", "run")


def make_folder(folder: Path) -> None:
    """Create a folder, and close it to others if it exists."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)


def write(file: Path, content: str | bytes) -> None:
    """Write a file atomically, readable by its owner only."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = file.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
        opened.write(content if isinstance(content, bytes) else content.encode())
    unfinished.replace(file)


def close_home(home: Path, *, own: bool) -> None:
    """Create the folder of a stack, and close what an earlier version left open.

    Args:
        own: nothing but the stack is in the folder. If not, the folder itself stays as it is.
    """
    if own or not home.exists():
        make_folder(home)
    for name in FOLDERS:
        if (home / name).is_dir():
            make_folder(home / name)
    for name in ENTRIES:
        if (home / name).is_file():
            (home / name).chmod(0o600)
    for folder in ("mail", "log", "run"):
        for file in (home / folder).glob("*"):
            if file.is_file() and file.stat().st_mode & 0o077:
                file.chmod(0o600)
