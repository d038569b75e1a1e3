"""Read a file as it is, or what it holds as a gzip or zip archive, expanding a bounded amount."""

import gzip
import re
import zipfile
import zlib
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO, Protocol

from services.operator.failures import Failed

GZIP, ZIP = b"\x1f\x8b", b"PK\x03\x04"
ENDINGS = (".xml", ".wxr", ".rss")
HIDDEN = re.compile(r"(?:\A|[/\\])(?:\.(?!\.?[/\\])|__MACOSX[/\\])")  # what a Macintosh adds to archives
SPARE = 100 * 1024 * 1024  # bytes that any archive may expand to
FACTOR = 100  # and as many more for each of its own; text becomes a tenth, spam a fiftieth
MOST_FILES = 1000
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, gzip.BadGzipFile, NotImplementedError, RuntimeError)


class Stream(Protocol):
    """What is read piece by piece."""

    def read(self, size: int, /) -> bytes: ...


def streams(path: Path) -> Generator[Stream, None, None]:
    """Yield the file, or the XML files in it; each is to be read before the next.

    Raises:
        Failed: the archive is broken, holds no XML, or expands beyond all measure.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(4)
        file.seek(0)
        if start[:2] == GZIP:
            with gzip.open(file) as expanded:
                yield _Expanding(expanded, _Allowance(path))
        elif start == ZIP:
            yield from _of_zip(path, file)
        else:
            yield file


def _of_zip(path: Path, file: BinaryIO) -> Generator[Stream, None, None]:
    try:
        with zipfile.ZipFile(file) as archive:
            found = [name for name in archive.namelist() if name.lower().endswith(ENDINGS)]
            names = [name for name in found if not HIDDEN.search(name)]
            if not names:
                raise Failed(f"{path} is a zip archive {'of hidden XML files' if found else 'without an XML file'}.")
            if len(names) > MOST_FILES:
                raise Failed(f"{path} is a zip archive of more than {MOST_FILES} XML files.")
            allowance = _Allowance(path)
            for name in sorted(names):
                with archive.open(name) as member:
                    yield _Expanding(member, allowance)
    except BROKEN as error:
        raise Failed(f"{path} is a broken archive: {str(error).rstrip('.') or 'it ends too early'}.") from error


class _Allowance:
    """How many bytes an archive may still expand to, so that a small file cannot keep an import busy for days."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._left = SPARE + FACTOR * path.stat().st_size

    def take(self, size: int) -> None:
        """Count bytes that the archive expanded to.

        Raises:
            Failed: they are too many.
        """
        self._left -= size
        if self._left < 0:
            raise Failed(f"{self.path} expands to more than a hundred times its size: it is no export.")


class _Expanding:
    """One stream of an archive."""

    def __init__(self, stream: Stream, allowance: _Allowance) -> None:
        self._stream = stream
        self._allowance = allowance

    def read(self, size: int, /) -> bytes:
        try:
            data = self._stream.read(size)
        except BROKEN as error:
            raise Failed(f"{self._allowance.path} is a broken archive: {str(error).rstrip('.')}.") from error
        self._allowance.take(len(data))
        return data
