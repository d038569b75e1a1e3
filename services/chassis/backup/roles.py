"""The one-shot roles of a service with a database: `backup`, `restore` and `verify`, each with a folder.

Each prints its result as the last line of standard output, in JSON, and refuses with a sentence and status 1.
"""

import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import orjson

from services.chassis.backup import snapshot
from services.chassis.backup.manifest import Manifest, Refused
from services.chassis.backup.restore import Backed, CatchUp, restore
from services.chassis.backup.verify import verify
from services.chassis.errors import Problem
from services.chassis.runtime.process import OneShot
from services.chassis.runtime.settings import Settings
from services.contracts.event import rfc3339


def one_shots(backed: Backed, settings: Settings, catch_up: CatchUp[Any]) -> Mapping[str, OneShot]:
    """Return the roles by name."""

    async def back_up(folder: Path) -> dict[str, Any]:
        return _shown(await snapshot.take(backed.service, backed.url(), backed.topics, settings, folder))

    async def check(folder: Path) -> dict[str, Any]:
        return _shown(await verify(backed, folder))

    async def put_back(folder: Path, *, dry_run: bool, force: bool) -> dict[str, Any]:
        found = await restore(backed, settings, catch_up, folder, dry_run=dry_run, force=force)
        return {name: rfc3339(value) if isinstance(value, datetime) else value for name, value in vars(found).items()}

    async def run_restore(arguments: Sequence[str]) -> int | None:
        options = {"--dry-run", "--force"} & set(arguments)
        folders = [one for one in arguments if one not in options]
        if len(folders) != 1 or folders[0].startswith("-"):
            return None
        dry_run, force = "--dry-run" in options, "--force" in options
        return await _status(backed.service, put_back(Path(folders[0]), dry_run=dry_run, force=force))

    return {
        "backup": OneShot("FOLDER", _of_folder(backed.service, back_up)),
        "restore": OneShot("FOLDER [--dry-run] [--force]", run_restore),
        "verify": OneShot("FOLDER", _of_folder(backed.service, check)),
    }


def _shown(found: Manifest) -> dict[str, Any]:
    return {
        "service": found.service,
        "taken_at": rfc3339(found.taken_at),
        "rows": found.rows,
        "bytes": sum(table.bytes for table in found.tables),
        "tables": {table.name: table.rows for table in found.tables},
        "offsets_known": found.offsets is not None,
    }


def _of_folder(
    service: str, work: Callable[[Path], Awaitable[dict[str, Any]]]
) -> Callable[[Sequence[str]], Awaitable[int | None]]:
    async def run(arguments: Sequence[str]) -> int | None:
        if len(arguments) != 1 or arguments[0].startswith("-"):
            return None
        return await _status(service, work(Path(arguments[0])))

    return run


async def _status(service: str, work: Awaitable[dict[str, Any]]) -> int:
    try:
        result = await work
    except Refused as refusal:
        sys.stderr.write(f"{refusal}\n")
        return 1
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return _failed(f"The database of {service} refused: {error}")
    except Problem as problem:
        return _failed(f"The database of {service} failed: {problem.detail.rstrip('.')}")
    except TimeoutError:
        return _failed(f"The database of {service} did not answer in time")
    except OSError as error:  # of a disk, or of a connection
        place = f": {error.filename}" if error.filename else ""
        return _failed(f"{service}: {error.strerror or error}{place}")
    sys.stdout.write(orjson.dumps(result).decode() + "\n")
    sys.stdout.flush()
    return 0


def _failed(what: str) -> int:
    sys.stderr.write(f"{what}. Nothing was done by halves: repeat it when that is mended.\n")
    return 1
