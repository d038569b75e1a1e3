"""`rapport restore`."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from services.chassis.backup import manifest
from services.chassis.backup.manifest import Refused
from services.contracts.event import rfc3339
from services.operator.backups import one_shots
from services.operator.backups.one_shots import ORDER
from services.operator.commands.backup import chosen
from services.operator.commands.options import Json
from services.operator.failures import Failed
from services.operator.moments import counted
from services.operator.resyncing import OWNERS


def restore(
    folder: Annotated[Path, typer.Argument(help="What `rapport backup` has written.")],
    services: Annotated[list[str], typer.Argument(help="Which to restore: posts, comments, people, notify.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only look whether it can be done.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also what is older than OUTBOX_RETENTION_DAYS; then every owner resyncs.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Restore services from a backup into empty databases, and print what to run then.

    Their processes must be stopped; the others may run. All are looked at before the first is changed. After an
    interruption, repeat it: each is restored whole or not at all.
    """
    folder, wanted = folder.absolute(), chosen(services)
    one_shots.check_addresses(wanted, os.environ)
    options = ("--force",) if force else ()
    refused: list[str] = []
    found: list[dict[str, Any]] = []
    for service in wanted:
        try:
            found.append(asyncio.run(one_shots.run(service, "restore", folder, "--dry-run", *options)))
        except Failed as refusal:
            refused.append(str(refusal))
    if refused:
        for one in refused[:-1]:
            typer.echo(f"rapport: {one}", err=True)
        raise Failed(f"{refused[-1]} Nothing was changed.")
    if not dry_run:
        found = _restore_all(folder, wanted, options)
    commands = next_commands(folder, found)
    if as_json:
        result = {"folder": str(folder), "dry_run": dry_run, "services": found, "next": commands}
        typer.echo(orjson.dumps(result).decode())
        return
    for result in found:
        typer.echo("\n".join(lines(result)))
    typer.echo(f"{'After it' if dry_run else 'Now'} start {', '.join(wanted)}, then run, in this order:")
    for command in commands:
        typer.echo(f"    {command}")


def _restore_all(folder: Path, wanted: Sequence[str], options: Sequence[str]) -> list[dict[str, Any]]:
    """Restore one service after the other, and return their results.

    Raises:
        Failed: one was not restored. What was done before is said first: a repetition does not know its numbers.
    """
    done: list[dict[str, Any]] = []
    for service in wanted:
        try:
            done.append(asyncio.run(one_shots.run(service, "restore", folder, *options)))
        except Failed:
            for result in done:
                typer.echo("\n".join(lines(result)), err=True)
            raise
    return done


def next_commands(folder: Path, results: list[dict[str, Any]]) -> list[str]:
    """Return what makes the whole installation agree again, once everything runs.

    What was restored by an earlier call, which was interrupted then, may lack what the log did not have: nobody knows
    any more, so every owner states what it has.
    """
    try:
        taken = [manifest.read(folder, service).taken_at for service in ORDER if (folder / service).is_dir()]
    except Refused as refusal:
        raise Failed(str(refusal)) from None
    since = rfc3339(min(taken))
    restored = {result["service"] for result in results}
    state = restored.union(*(OWNERS if result["already"] else result["resync"] for result in results))
    return [
        *(f"rapport republish {service} --since {since}" for service in ("posts", "comments", "people", "notify")),
        *(f"rapport resync {owner}" for owner in OWNERS if owner in state),
        "rapport check",
        *(["rapport mail resume"] if "notify" in restored else []),
    ]


def lines(result: dict[str, Any]) -> list[str]:
    """Return the result of one service for a person."""
    service, rows = result["service"], counted(result["rows"], "row")
    if result["already"]:
        return [f"{service} was restored from this snapshot before; nothing was changed."]
    if result["dry_run"]:
        return [f"{service} would get {rows} of {result['taken_at']}.", *_losses(result)]
    said = [f"{service} has {rows} of {result['taken_at']}, and epoch {result['epoch']}."]
    said += [f"  {name}: {count:,}" for name, count in result["counters"].items()]
    if result["migrations"]:
        said.append(f"  migrated on: {', '.join(result['migrations'])}")
    return said + _losses(result)


def _losses(result: dict[str, Any]) -> list[str]:
    """Return what the log does not have any more, and what that means."""
    said = []
    if result["again_only_since"]:
        said.append(
            f"  Kafka has nothing from before {result['again_only_since']}: removals, erasures, unsubscribes and bans "
            "between the backup and then cannot be applied again. Look for them elsewhere, such as in a later backup."
        )
    owners = [owner for owner in OWNERS if owner in result["resync"]]
    if owners:
        said.append(
            f"  The log does not have everything since: {' and '.join(owners)} must state what they have (below)."
        )
    return said
