"""The manifest of a snapshot: what it holds, of when, and by which digests it is known to be whole."""

import hashlib
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

FORMAT = 1
NAME = "manifest.json"


class Refused(Exception):
    """A snapshot cannot be written or used. The message is a sentence for the operator."""


class Migration(BaseModel):
    """A migration that the database had."""

    model_config = ConfigDict(frozen=True)

    package: str
    name: str
    sha256: str


class TableFile(BaseModel):
    """The file of one table.

    Attributes:
        sha256: of the file as it is on disk.
        content: digest of the rows, whatever their order.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    columns: tuple[str, ...]
    rows: int
    bytes: int
    sha256: str
    content: str

    @property
    def file(self) -> str:
        return file_of(self.name)


class Manifest(BaseModel):
    """What a snapshot holds.

    Attributes:
        taken_at: the database's time when the transaction of the snapshot began.
        offsets: by topic, without prefix, and partition, how far the consumer group was before the snapshot; a
            partition is absent if nothing was committed there. None: the broker did not tell.
        sha256: of everything else in the manifest; also the name of the snapshot.
    """

    model_config = ConfigDict(frozen=True)

    format: int
    service: str
    taken_at: AwareDatetime
    epoch: int
    server_version: str
    outbox_retention_days: int
    inbox_retention_days: int
    migrations: tuple[Migration, ...]
    tables: tuple[TableFile, ...]
    offsets: dict[str, dict[int, int]] | None
    sha256: str = ""

    def sealed(self) -> "Manifest":
        """Return the manifest with its digest."""
        return self.model_copy(update={"sha256": _digest(self.model_dump(mode="json"))})

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables)

    def age_days(self, now: datetime) -> float:
        return (now - self.taken_at).total_seconds() / 86_400


def file_of(table: str) -> str:
    """Return the name of a table's file."""
    return f"{table}.copy.gz"


def _digest(values: dict[str, Any]) -> str:
    kept = {name: value for name, value in values.items() if name != "sha256"}
    return hashlib.sha256(orjson.dumps(kept, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)).hexdigest()


def write(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of a snapshot, readable by its owner only."""
    descriptor = os.open(folder / NAME, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(orjson.dumps(manifest.model_dump(mode="json"), option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS))
        file.flush()
        os.fsync(file.fileno())


def read(folder: Path, service: str) -> Manifest:
    """Return the manifest of a service's snapshot in this folder.

    Raises:
        Refused: there is none, it was altered, or it is of a later version of Rapport.
    """
    path = folder / service / NAME
    try:
        values = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise Refused(f"{folder} holds no whole snapshot of {service}: {path} is missing.") from None
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError:
        raise Refused(f"{path} is damaged: take another backup.") from None
    if isinstance(values, dict) and isinstance(values.get("format"), int) and values["format"] > FORMAT:
        raise Refused(f"{path} has format {values['format']}: restore it with the version of Rapport that wrote it.")
    try:
        manifest = Manifest.model_validate(values)
    except ValidationError:
        raise Refused(f"{path} is damaged: take another backup.") from None
    if manifest.sha256 != _digest(values):
        raise Refused(f"{path} was altered after the backup: take another one.")
    if manifest.service != service:
        raise Refused(f"{path} belongs to {manifest.service}, not to {service}.")
    return manifest
