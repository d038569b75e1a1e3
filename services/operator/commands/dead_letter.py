"""`rapport dead-letter`: list, show, redrive, drop."""

import asyncio
import json
from typing import Annotated

import typer

from services.chassis.messaging.dead_letter import DeadLetter
from services.operator import dead_letters
from services.operator.commands.options import Group, Json
from services.operator.moments import counted
from services.operator.settings import load

app = typer.Typer(help="Dead letters: events that a consumer group could not handle.", no_args_is_help=True)

Positions = Annotated[list[int] | None, typer.Option("--position", help="Only the one here; may be repeated.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say which.")]


@app.command("list", epilog="Example: rapport dead-letter list notify")
def list_letters(
    group: Group, every: Annotated[bool, typer.Option("--all", help="Dropped ones too.")] = False, as_json: Json = False
) -> None:
    """List the dead letters of a consumer group."""
    found = asyncio.run(dead_letters.read(load(), group))
    shown = [letter for letter in found if every or letter.state != "dropped"]
    if as_json:
        return _print_json(group, shown)
    for letter in shown:
        typer.echo("\n".join(dead_letters.lines(letter, full=False)))
    if not shown:
        typer.echo(f"{group} has no dead letters.")
    if len(shown) < len(found):
        typer.echo(f"{counted(len(found) - len(shown), 'dropped one')} not shown; --all lists them.", err=True)
    return None


@app.command(epilog="Example: rapport dead-letter show notify --position 17")
def show(group: Group, position: Positions = None, as_json: Json = False) -> None:
    """Show dead letters in full, with headers and payload: all that are listed, or the named ones."""
    found = asyncio.run(dead_letters.read(load(), group, position or []))
    shown = [letter for letter in found if position or letter.state != "dropped"]
    if as_json:
        return _print_json(group, shown)
    for letter in shown:
        typer.echo("\n".join(dead_letters.lines(letter, full=True)))
    if not shown:
        typer.echo(f"{group} has no dead letters.")
    return None


@app.command(epilog="Example: rapport dead-letter redrive notify --dry-run")
def redrive(group: Group, position: Positions = None, dry_run: DryRun = False, as_json: Json = False) -> None:
    """Send dead letters to their original topic again: all that wait, or the named ones."""

    async def work() -> list[DeadLetter]:
        settings = load()
        found = await dead_letters.read(settings, group, position or [])
        chosen = [one for one in found if one.can_be_sent and (position or one.state == "waiting")]
        if chosen and not dry_run:
            await dead_letters.send_again(settings, group, chosen, progress)
        return chosen

    def progress(count: int) -> None:
        if count >= 1000:
            typer.echo(f"{counted(count, 'dead letter')} sent", err=True)

    _report(group, asyncio.run(work()), "would be sent again" if dry_run else "sent again", as_json)


@app.command(epilog="Example: rapport dead-letter drop notify --position 17")
def drop(
    group: Group,
    position: Positions = None,
    redriven: Annotated[
        bool, typer.Option("--redriven", help="All that were sent again and have not come back.")
    ] = False,
    every: Annotated[bool, typer.Option("--all", help="All that are listed.")] = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Mark dead letters as dealt with: they are kept until their retention ends, but no longer listed."""
    if sum((bool(position), redriven, every)) != 1:
        raise typer.BadParameter("Say which: --position N, --redriven or --all.")

    async def work() -> list[DeadLetter]:
        settings = load()
        found = await dead_letters.read(settings, group, position or [])
        chosen = [one for one in found if one.state != "dropped" and (not redriven or one.redriven)]
        if chosen and not dry_run:
            await dead_letters.drop(settings, group, chosen)
        return chosen

    _report(group, asyncio.run(work()), "would be dropped" if dry_run else "dropped", as_json)


def _print_json(group: str, found: list[DeadLetter]) -> None:
    typer.echo(json.dumps({"group": group, "letters": [dead_letters.as_json(one) for one in found]}, indent=2))


def _report(group: str, chosen: list[DeadLetter], done: str, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"group": group, "what": done, "positions": [one.position for one in chosen]}))
        return
    at = f" (position {', '.join(str(one.position) for one in chosen)})" if "would" in done and chosen else ""
    typer.echo(f"{counted(len(chosen), 'dead letter')} of {group} {done}{at}.")
