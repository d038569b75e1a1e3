"""Files of tables: PostgreSQL's text COPY, compressed, written and read piece by piece."""

import gzip
import hashlib
import os
import zlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from services.chassis.backup.manifest import Refused, TableFile, file_of
from services.chassis.backup.progress import Progress

PIECE = 256 * 1024
LEVEL = 5


class Content:
    """Counts the rows of a COPY, and adds up their digests, so that the order of the rows does not matter."""

    def __init__(self) -> None:
        self.rows = 0
        self._sum = 0
        self._rest = b""

    def add(self, piece: bytes) -> int:
        """Take a piece, which may end in the middle of a row; return how many rows ended in it."""
        *lines, self._rest = (self._rest + piece).split(b"\n")  # a line break in a value is written as \n
        for line in lines:
            self._sum += int.from_bytes(hashlib.sha256(line).digest())
        self.rows += len(lines)
        return len(lines)

    @property
    def digest(self) -> str:
        return f"{self._sum % 2**256:064x}"


class _Hashing:
    """A file that hashes and counts what is written into it."""

    def __init__(self, descriptor: int) -> None:
        self._file = os.fdopen(descriptor, "wb")
        self.sha256 = hashlib.sha256()
        self.bytes = 0

    def write(self, piece: bytes) -> int:
        self.sha256.update(piece)
        self.bytes += len(piece)
        return self._file.write(piece)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


def selection(table: str, columns: tuple[str, ...]) -> str:
    """Return the query of a table's rows. The names come from the catalogue of the database."""
    return f"select {', '.join(map(quoted, columns))} from {quoted(table)}"  # noqa: S608  # quoted


def quoted(name: str) -> str:
    """Return a name as an identifier in SQL."""
    return '"' + name.replace('"', '""') + '"'


async def write(connection: Any, folder: Path, table: str, columns: tuple[str, ...], progress: Progress) -> TableFile:
    """Write a table's file in the connection's transaction, and return what it holds."""
    target = _Hashing(os.open(folder / file_of(table), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    content = Content()
    progress.begin(table)
    try:
        with gzip.GzipFile("", "wb", LEVEL, target, mtime=0) as packed:

            async def take(piece: bytes) -> None:
                progress.add(content.add(piece))
                packed.write(piece)

            await connection.copy_from_query(selection(table, columns), output=take, format="text")
    finally:
        target.close()
    return TableFile(
        name=table,
        columns=columns,
        rows=content.rows,
        bytes=target.bytes,
        sha256=target.sha256.hexdigest(),
        content=content.digest,
    )


async def content_of(connection: Any, table: str, columns: tuple[str, ...]) -> Content:
    """Return rows and digest of a table as it is in the database."""
    content = Content()

    async def take(piece: bytes) -> None:
        content.add(piece)

    await connection.copy_from_query(selection(table, columns), output=take, format="text")
    return content


def check(folder: Path, table: TableFile) -> None:
    """Check that a file is the one that was written.

    Raises:
        Refused: it is missing, truncated or altered; it is named.
    """
    path = folder / table.file
    digest = hashlib.sha256()
    try:
        size = path.stat().st_size
        if size < table.bytes:
            raise Refused(f"{path} is truncated: {size:,} of {table.bytes:,} bytes are there.")
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                digest.update(piece)
    except FileNotFoundError:
        raise Refused(f"{path} is missing.") from None
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}.") from None
    if digest.hexdigest() != table.sha256:
        raise Refused(f"{path} was altered after the backup: its digest is another one.")


def pieces(path: Path) -> Iterator[bytes]:
    """Yield the unpacked content of a file.

    Raises:
        Refused: it cannot be unpacked.
    """
    try:
        with gzip.open(path, "rb") as file:
            while piece := file.read(PIECE):
                yield piece
    except (OSError, EOFError, zlib.error) as error:
        raise Refused(f"{path} cannot be unpacked: {error}.") from None


async def rows_of(path: Path, progress: Progress) -> AsyncIterator[bytes]:
    """Yield the unpacked content of a file, for `copy_to_table`."""
    for piece in pieces(path):
        progress.add(piece.count(b"\n"))
        yield piece
