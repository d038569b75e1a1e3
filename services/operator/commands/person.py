"""`rapport person`: grant, revoke, sessions end."""

import asyncio
import json
from typing import Annotated
from uuid import UUID

import typer

from services.contracts.people import ROLES
from services.operator.calls import connected
from services.operator.failures import Failed
from services.operator.moments import counted
from services.operator.settings import load

person = typer.Typer(help="Manage people.", no_args_is_help=True)
sessions = typer.Typer(help="Sessions of a person.", no_args_is_help=True)
person.add_typer(sessions, name="sessions")


@person.command(epilog="Example: rapport person grant robin@example.com author")
def grant(email: str, role: Annotated[str, typer.Argument(help="reader, author, moderator or admin.")]) -> None:
    """Grant a role to the person who has confirmed the address; reader takes all others away."""
    asyncio.run(_change_roles("/grants", email, role))


@person.command(epilog="Example: rapport person revoke robin@example.com author")
def revoke(email: str, role: Annotated[str, typer.Argument(help="author, moderator or admin.")]) -> None:
    """Take a role from the person who has confirmed the address."""
    asyncio.run(_change_roles("/grants/revoke", email, role))


async def _change_roles(path: str, email: str, role: str) -> None:
    if role not in ROLES:
        raise Failed(f"There is no role {role!r}; there are {', '.join(ROLES[:-1])} and {ROLES[-1]}.")
    async with connected(load()) as services:
        answer = await services.post("people", path, {"email": email, "role": role})
        typer.echo(f"{email} is now {', '.join(answer['roles'])}.")


@sessions.command(epilog="Example: rapport person sessions end robin@example.com --all --dry-run")
def end(
    who: Annotated[str, typer.Argument(metavar="PERSON", help="An id, or the address that is confirmed.")],
    every: Annotated[bool, typer.Option("--all", help="All that are open.")] = False,
    session: Annotated[UUID | None, typer.Option(help="Only the one with this id.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """End open sessions of a person, who has to sign in again there. It may be repeated."""
    if every == (session is not None):
        raise typer.BadParameter("Say which: --all or --session ID.")

    async def work() -> None:
        body = {"person": who, "session_id": None if session is None else str(session), "dry_run": dry_run}
        async with connected(load()) as services:
            answer = await services.post("people", "/sessions/end", body)
        if as_json:
            typer.echo(json.dumps(answer | {"dry_run": dry_run}))
            return
        done = "would be ended" if dry_run else "ended"
        typer.echo(f"{counted(len(answer['sessions']), 'open session')} of {who} {done}.")
        for each in answer["sessions"]:
            typer.echo(f"  {each}")

    asyncio.run(work())
