"""`rapport backup`."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from services.chassis.backup.manifest import Refused
from services.operator.backups import one_shots, references
from services.operator.backups.one_shots import ORDER
from services.operator.batches import say
from services.operator.commands.options import Json
from services.operator.failures import Failed
from services.operator.moments import counted


def backup(
    folder: Annotated[Path, typer.Argument(help="Where to: a new folder, such as one with the date in its name.")],
    only: Annotated[list[str] | None, typer.Option("--only", help="This service alone; may be repeated.")] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Write nothing: restore the backup in FOLDER for trial, and compare.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a consistent snapshot of each service's database into a folder, while everything runs.

    Addresses and texts of people are in it: the folder is closed to other users, keep its copies closed too. The keys
    and NOTIFY_SECRET are not in it. Status 1: something failed, or --verify found damage.
    """
    folder, services = folder.absolute(), chosen(only)
    one_shots.check_addresses(services, os.environ)
    _check_place(folder)
    if verify:
        _verify(folder, services, as_json)
        return
    present = [service for service in services if (folder / service).exists()]
    if present:
        rest = _rest(services, present)
        raise Failed(f"{folder} has a backup of {' and '.join(present)} already: name a new folder.{rest}")
    result = asyncio.run(_back_up(folder, services))
    if as_json:
        typer.echo(orjson.dumps({"folder": str(folder), "services": result}).decode())
        return
    for one in result:
        size = f"{one['bytes'] / 2**20:,.1f} MiB"
        typer.echo(f"{one['service']}: {counted(one['rows'], 'row')} as of {one['taken_at']}, {size}.")
    typer.echo(f"Look whether it can be restored: rapport backup --verify {folder}")


def _check_place(folder: Path) -> None:
    """Check that one can look into a folder, if it is there.

    Raises:
        Failed: its name is no name, or its rights forbid it.
    """
    try:
        (folder / ORDER[0]).exists()
    except OSError as error:
        raise Failed(f"{folder} cannot be used: {error.strerror}.") from None


def chosen(only: list[str] | None) -> tuple[str, ...]:
    """Return the services that were asked for, in the order in which they are backed up.

    Raises:
        Failed: one is not known.
    """
    for name in only or ():
        if name not in ORDER:
            raise Failed(f"There is no service {name!r} with a database; there are {', '.join(ORDER)}.")
    return tuple(name for name in ORDER if name in (only or ORDER))


async def _back_up(folder: Path, services: tuple[str, ...]) -> list[dict[str, Any]]:
    done: list[dict[str, Any]] = []
    for service in services:
        say(f"{service}: begins")
        try:
            done.append(await one_shots.run(service, "backup", folder))
        except Failed as refusal:
            if not done:
                raise
            left = " ".join(f"--only {name}" for name in services[len(done) :])
            raise Failed(f"{refusal} What is in {folder} is whole; go on with {left}, or into a new folder.") from None
    return done


def _rest(services: Sequence[str], present: Sequence[str]) -> str:
    """Return how to go on with a backup that was interrupted: what is there is whole."""
    left = [f"--only {name}" for name in services if name not in present]
    return f" If that was interrupted, what is there is whole: go on with {' '.join(left)}." if left else ""


def _verify(folder: Path, services: tuple[str, ...], as_json: bool) -> None:
    found: list[dict[str, Any]] = []
    faults: list[str] = []
    if not any((folder / service).is_dir() for service in services):
        raise Failed(f"{folder} holds no backup.")
    for service in services:
        try:
            found.append(asyncio.run(one_shots.run(service, "verify", folder)))
        except Failed as refusal:
            faults.append(str(refusal))
    whole = tuple(one["service"] for one in found)
    try:
        compared = references.compare(folder, references.read_all(folder, whole))
    except Refused as refusal:
        compared, faults = [], [*faults, str(refusal)]
    faults += [references.sentence(one) for one in compared if one["missing"] and not one["explained"]]
    if as_json:
        result = {"folder": str(folder), "services": found, "references": compared, "faults": faults}
        typer.echo(orjson.dumps(result).decode())
    else:
        for one in found:
            typer.echo(f"{one['service']}: {counted(one['rows'], 'row')} of {one['taken_at']} come back as they were.")
        for one in compared:
            if not one["missing"] or one["explained"]:
                typer.echo(references.sentence(one))
        for fault in faults:
            typer.echo(f"rapport: {fault}", err=True)
    if faults:
        raise typer.Exit(1)
