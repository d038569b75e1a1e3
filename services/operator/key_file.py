"""The file of an installation's keys: lines `NAME='value'`, among others that are left as they are."""

import errno
import fcntl
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from services.chassis.runtime.failpoint import reach
from services.operator.failures import Failed

LINE = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)=")
AMBIGUOUS = re.compile(r"[$`\\]")  # read in one way by a shell and in another by compose, except in single quotes


@dataclass(frozen=True)
class KeyFile:
    """A file of keys as it was when it was opened.

    Attributes:
        changed_at: when somebody last wrote it, in seconds since 1970.
    """

    path: Path
    text: str
    changed_at: float

    def value(self, name: str) -> str:
        """Return the value of a variable; an empty text if the file has none.

        Raises:
            Failed: it stands there twice, or in a way that a shell would not read.
        """
        found = [line for line in self.text.split("\n") if (at := LINE.match(line)) and at[1] == name]
        if not found:
            return ""
        if len(found) > 1:
            raise Failed(f"{name} stands in {self.path} more than once: leave one line of it.")
        try:
            words = list(takewhile(lambda word: not word.startswith("#"), shlex.split(found[0])))
        except ValueError:
            words = []
        assigned = [word for word in words if word != "export"]
        raw = found[0].partition("=")[2].strip()
        if len(assigned) != 1 or (not raw.startswith("'") and AMBIGUOUS.search(raw)):
            raise Failed(f"{name} cannot be read from {self.path} for certain: write {name}='…', in single quotes.")
        return assigned[0].partition("=")[2]

    def with_values(self, changes: Mapping[str, str | None]) -> str:
        """Return the text of the file with other values; None takes a variable out.

        Raises:
            Failed: a value has a quotation mark, which readers of such files take in different ways.
        """
        left = {name: None if value is None else self.quoted(name, value) for name, value in changes.items()}
        lines = []
        for line in self.text.removesuffix("\n").split("\n"):
            found, end = LINE.match(line), "\r" * line.endswith("\r")
            if not found or found[1] not in changes:
                lines.append(line)
            elif (value := left.pop(found[1])) is not None:
                lines.append(f"{line[: found.end()]}{value}{end}")
        lines += [f"{name}={value}" for name, value in left.items() if value is not None]
        return "".join(f"{line}\n" for line in lines)

    def quoted(self, name: str, value: str) -> str:
        """Return a value as it stands in the file.

        Raises:
            Failed: readers of such files would take it in different ways.
        """
        if "'" in value or not value.isprintable():
            raise Failed(f"{name} would hold a quotation mark or a control character: choose another secret first.")
        return f"'{value}'"

    def write(self, changes: Mapping[str, str | None]) -> None:
        """Replace the file by one with other values, in one step, for the same readers.

        Raises:
            Failed: a value cannot be written, or the file cannot be replaced.
        """
        text = self.with_values(changes)
        try:
            present = self.path.stat()
            temporary = self.path.with_name(f".{self.path.name}.new")  # one that a killed command left is replaced
            temporary.unlink(missing_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
                    os.fchmod(file.fileno(), present.st_mode & 0o7777)
                    if os.geteuid() == 0:
                        os.fchown(file.fileno(), present.st_uid, present.st_gid)
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                reach("keys.written")
                temporary.replace(self.path)
            finally:
                temporary.unlink(missing_ok=True)
            reach("keys.replaced")
        except OSError as error:
            hint = " Mount its folder instead of the file." if error.errno == errno.EBUSY else ""
            raise Failed(f"{self.path} cannot be replaced: {error.strerror}. Nothing was changed.{hint}") from None


@contextmanager
def opened(path: Path, *, to_change: bool = True) -> Iterator[KeyFile]:
    """Open the file of keys; nobody else changes it by a command meanwhile.

    Raises:
        Failed: it cannot be read, or another command changes it.
    """
    path = path.resolve()  # of a link the file is replaced, not the link
    if path.exists() and not path.is_file():
        raise Failed(f"{path} is no regular file.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            fcntl.flock(file, (fcntl.LOCK_EX if to_change else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            found = os.fstat(file.fileno())
            if found.st_ino != path.stat().st_ino:  # it was replaced between opening and locking
                raise BlockingIOError
            yield KeyFile(path, file.read(), found.st_mtime)
    except BlockingIOError:
        raise Failed(f"Another command changes {path}: wait until it has ended.") from None
    except FileNotFoundError:
        raise Failed(f"There is no file {path}: name the file of your keys with --file.") from None
    except OSError as error:
        raise Failed(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise Failed(f"{path} cannot be read: it is not text in UTF-8.") from None
