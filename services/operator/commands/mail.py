"""`rapport mail`: whether notifications are mailed; pause and resume."""

import asyncio
import json
from typing import Annotated, Any

import typer

from services.operator.calls import connected
from services.operator.commands.options import Json
from services.operator.moments import counted
from services.operator.settings import load

app = typer.Typer(help="Mail about answers: status, pause, resume.", no_args_is_help=True)


@app.command(epilog="Example: rapport mail status")
def status(as_json: Json = False) -> None:
    """Show whether mail is paused, since when and why, and how many notifications wait."""
    answer = asyncio.run(_ask("GET", "/mail"))
    typer.echo(json.dumps(answer) if as_json else _sentence(answer))


@app.command(epilog="Example: rapport mail pause --why 'the mail server moves'")
def pause(
    why: Annotated[str, typer.Option(help="The reason, for whoever looks at the status.")] = "by an operator",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many wait.")] = False,
    as_json: Json = False,
) -> None:
    """Mail no notification until mail is resumed. Sign-in mails go out, and so does what is being sent already."""
    answer = asyncio.run(_ask("GET", "/mail") if dry_run else _ask("POST", "/mail/pause", {"why": why}))
    typer.echo(json.dumps(answer) if as_json else _sentence(answer) + (" Nothing was changed." if dry_run else ""))


@app.command(epilog="Example: rapport mail resume --dry-run")
def resume(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go out.")] = False,
    as_json: Json = False,
) -> None:
    """Mail notifications again; what waits goes out, unless it is too old or not wanted any more."""
    answer = asyncio.run(_ask("POST", "/mail/resume", {"dry_run": dry_run}))
    if as_json:
        typer.echo(json.dumps(answer))
    elif not answer["paused"]:
        typer.echo(_sentence(answer))
    elif dry_run:
        typer.echo(f"{_waiting(answer)} would be looked at, and mailed unless too old. Nothing was changed.")
    else:
        typer.echo(f"Mail goes out again; {_waiting(answer)}.")


async def _ask(method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    async with connected(load()) as services:
        if method == "GET":
            return await services.get("notify", path)
        return await services.post("notify", path, body or {})


def _waiting(answer: dict[str, Any]) -> str:
    return f"{counted(answer['waiting'], 'notification')} waiting, {answer['due']:,} of them due"


def _sentence(answer: dict[str, Any]) -> str:
    if not answer["paused"]:
        return f"Mail goes out; {_waiting(answer)}."
    return f"Mail is paused since {answer['since']}: {answer['why']}; {_waiting(answer)}. To go on: rapport mail resume"
