"""Compare the snapshots of a backup with each other: does each have what the others refer to?

A reference to nothing is explained if the one who refers was read later: what came in between is in one of them only.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from services.chassis.backup import manifest, table_files
from services.chassis.backup.manifest import Manifest
from services.operator.moments import counted


@dataclass(frozen=True)
class Column:
    """Ids in a table of a service; rows with a true `unless` do not count."""

    service: str
    table: str
    name: str
    unless: str | None = None


POSTS = Column("posts", "posts", "id")
COMMENTS = Column("comments", "comments", "id")
PEOPLE = Column("people", "people", "id")

REFERENCES = (
    (Column("comments", "discussions", "post_id", unless="gone"), POSTS),
    (Column("notify", "comments", "comment_id", unless="gone"), COMMENTS),
    (Column("posts", "posts", "author_id"), PEOPLE),
    (Column("comments", "comments", "author_id"), PEOPLE),
    (Column("notify", "notifications", "person_id"), PEOPLE),
)
SHOWN = 3


def compare(folder: Path, sources: dict[str, Manifest]) -> list[dict[str, Any]]:
    """Return for each kind of reference how many lead nowhere. Services without a snapshot here are passed over."""
    found = []
    owned: dict[Column, set[bytes]] = {}
    for column, owner in REFERENCES:
        if column.service not in sources or owner.service not in sources:
            continue
        if owner not in owned:
            owned = {owner: set(_ids(folder, sources[owner.service], owner))}
        missing = set(_ids(folder, sources[column.service], column)) - owned[owner]
        found.append(
            {
                "in": f"{column.service}.{column.table}.{column.name}",
                "owner": owner.service,
                "missing": len(missing),
                "examples": [str(UUID(bytes=one)) for one in sorted(missing)[:SHOWN]],
                "explained": sources[column.service].taken_at > sources[owner.service].taken_at,
            }
        )
    return found


def _ids(folder: Path, source: Manifest, column: Column) -> Iterator[bytes]:
    table = next(one for one in source.tables if one.name == column.table)
    place = table.columns.index(column.name)
    flag = table.columns.index(column.unless) if column.unless in table.columns else None
    rest = b""
    for piece in table_files.pieces(folder / source.service / table.file):
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            values = line.split(b"\t")
            if flag is None or values[flag] != b"t":
                yield bytes.fromhex(values[place].replace(b"-", b"").decode())


def read_all(folder: Path, services: tuple[str, ...]) -> dict[str, Manifest]:
    """Return the manifests of the services that have a snapshot in the folder."""
    return {name: manifest.read(folder, name) for name in services if (folder / name).is_dir()}


def sentence(found: dict[str, Any]) -> str:
    """Return a comparison in a sentence."""
    if not found["missing"]:
        return f"Everything in {found['in']} is in the snapshot of {found['owner']}."
    are = "is" if found["missing"] == 1 else "are"
    said = f"{counted(found['missing'], 'id')} of {found['in']} {are} not in the snapshot of {found['owner']}: "
    said += ", ".join(found["examples"]) + (", …" if found["missing"] > SHOWN else "")
    if found["explained"]:
        return f"{said}. It was read before, so they may have come in between; `rapport resync` mends it."
    return f"{said}. It was read after, so it should have them."
