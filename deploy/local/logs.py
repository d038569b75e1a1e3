"""Logs for people: a line of JSON becomes time, process, level, message and fields, wrapped to the terminal."""

import contextlib
import json
import os
import shutil
import subprocess
import textwrap
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

LINES = 15  # of each log, to begin with
READ_BYTES = 64 * 1024  # of the end of a log, for an excerpt
KNOWN = ("time", "level", "service", "message", "logger", "exception", "stack")


def say(line: str) -> None:
    """Print one line for the user; `up` and `down` show it as it is written."""
    with contextlib.suppress(OSError):  # its log may be on a full disk
        print(time.strftime("%H:%M:%S"), line, flush=True)


def width() -> int:
    """Return the columns of the terminal, 80 without one."""
    return max(40, shutil.get_terminal_size((80, 24)).columns)


def wrapped(text: str, indent: str = "", columns: int | None = None) -> str:
    """Wrap each line at spaces; what has none, such as a path, stays whole."""
    return "\n".join(
        textwrap.fill(
            line,
            columns or width(),
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
            replace_whitespace=False,
        )
        for line in text.splitlines()
    )


def message(text: str, columns: int | None = None) -> str:
    """Wrap the lines of a message; one that is indented by four is a command to paste and stays whole."""
    return "\n".join(line if line.startswith("    ") else wrapped(line, columns=columns) for line in text.splitlines())


def indented(line: str, columns: int | None = None) -> str:
    """Return a line of the supervisor's log, as `up` and `down` show it."""
    return wrapped("  " + readable("", line), " " * 11, columns)


def readable(process: str, line: str) -> str:
    """Return one line of a log in a form for people; a line that is not JSON stays as it is."""
    line = line.rstrip("\r\n")
    try:
        entry = json.loads(line)
    except ValueError:
        entry = None
    if not isinstance(entry, dict) or "message" not in entry:
        return f"{process:<11} {line}" if process else line
    level = str(entry.get("level", ""))
    shown = "" if level == "info" else level.upper()
    name = process or str(entry.get("service", ""))
    fields = " ".join(f"{key}={_value(value)}" for key, value in entry.items() if key not in KNOWN)
    parts = (f"{name:<11}", _clock(entry.get("time")), shown, str(entry["message"]), fields, *_failure(entry))
    return " ".join(filter(None, parts))


def _clock(text: object) -> str:
    """Return the local time of day."""
    try:
        return datetime.fromisoformat(str(text)).astimezone().strftime("%H:%M:%S")
    except (ValueError, OverflowError):
        return ""


def _value(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return json.dumps(text, ensure_ascii=False) if " " in text and isinstance(value, str) else text


def _failure(entry: dict[str, Any]) -> Iterator[str]:
    """Yield the exception and where it was raised; the whole traceback is in the file."""
    found = entry.get("exception")
    if isinstance(found, str):
        yield f"({found.strip().splitlines()[-1]})" if found.strip() else ""
        return
    for one in found if isinstance(found, list) else ():
        frames = one.get("frames") or [{}]
        place = f", {frames[-1].get('filename')}:{frames[-1].get('lineno')}" if frames[-1] else ""
        yield f"({one.get('exc_type')}: {one.get('exc_value')}{place})"


def excerpt(log: Path, since: int = 0, lines: int = LINES) -> list[str]:
    """Return the last lines of a log that matter, for people: warnings, errors, and what is not JSON.

    Args:
        since: the byte where the process began that is asked about.
    """
    try:
        with log.open("rb") as opened:
            size = opened.seek(0, os.SEEK_END)
            opened.seek(max(since if since < size else 0, size - READ_BYTES))
            found = [line for line in opened.read().decode(errors="replace").splitlines() if line.strip()]
    except OSError:
        return []
    matter = [line for line in found if _matters(line)]
    return [readable("", line) for line in (matter or found)[-lines:]]


def _matters(line: str) -> bool:
    try:
        entry = json.loads(line)
    except ValueError:
        return True
    return not isinstance(entry, dict) or str(entry.get("level", "")) not in ("debug", "info")


def follow(files: Sequence[Path]) -> None:
    """Print the last lines of every file, and new ones as they come, until Ctrl-C."""
    command = ["tail", "-n", str(LINES), "-F", *map(str, files)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace"
    ) as tail:
        assert tail.stdout is not None
        try:
            for line in shown(tail.stdout):
                print(line, flush=True)
        finally:
            tail.terminate()


def shown(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines of `tail` for people; its headings `==> file <==` say of which process the next ones are."""
    process = ""
    for line in lines:
        if line.startswith("==> ") and line.rstrip().endswith(" <=="):
            process = Path(line.strip()[4:-4]).stem
        elif line.strip():
            yield wrapped(readable(process, line), " " * 12)
