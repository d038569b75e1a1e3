"""Files and folders that other users of this machine cannot read."""

import os
from pathlib import Path

# all that a stack keeps in its home; a home may be older than the rule that nobody else reads it
FILES = (
    "database-passwords.json",
    "keys.env",
    "lock",
    "operator.env",
    "prepared",
    "put-aside.json",
    "server-passwords.json",
    "settings.env",
    "state.json",
    "supervisor.json",
)
FOLDERS = ("kafka", "log", "mail", "postgres", "run", "valkey")
TOOLS = "tools"


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


def close_home(home: Path) -> None:
    """Create the folder of a stack, and close what an earlier version left open.

    A folder with other things in it, such as somebody's home, stays as it is; what is ours in it is closed.
    """
    if not home.exists() or {entry.name for entry in home.iterdir()} <= {*FILES, *FOLDERS, TOOLS}:
        make_folder(home)
    for name in FOLDERS:
        if (home / name).is_dir():
            make_folder(home / name)
    files = [home / name for name in FILES]
    for folder in ("log", "mail", "run"):
        files += (home / folder).glob("*")
    for file in files:
        if file.is_file() and file.stat().st_mode & 0o077:
            file.chmod(0o600)
