"""`rapport person`: list, show, grant, revoke, sessions end."""

import asyncio
import json
from typing import Annotated, Any
from uuid import UUID

import typer

from services.contracts.people import ROLES
from services.operator import people
from services.operator.calls import connected
from services.operator.failures import Failed
from services.operator.moments import counted
from services.operator.settings import load

person = typer.Typer(help="Manage people.", no_args_is_help=True)
sessions = typer.Typer(help="Sessions of a person.", no_args_is_help=True)
person.add_typer(sessions, name="sessions")


Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")]
Who = Annotated[str, typer.Argument(metavar="PERSON", help="An id, or the address that is confirmed.")]


@person.command("list", epilog="Example: rapport person list --role author --part example.com")
def list_people(
    role: Annotated[str | None, typer.Option(help="Only those with this role.")] = None,
    part: Annotated[str | None, typer.Option(help="Only those with this in their name or address.")] = None,
    imported: Annotated[
        bool | None, typer.Option("--imported/--not-imported", help="Only those from another system, or only others.")
    ] = None,
    erased: Annotated[bool, typer.Option("--erased", help="Those who are erased, who are left out otherwise.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print an object in JSON a line.")] = False,
) -> None:
    """List people in the order in which they came, with their addresses."""
    if role is not None:
        _check_role(role)

    async def work() -> None:
        count = 0
        body: dict[str, Any] = {"role": role, "part": part, "imported": imported, "erased": erased, "cursor": None}
        async with connected(load()) as services:
            while True:
                answer = await services.post("people", "/people/list", body)
                for each in answer["items"]:
                    count += 1
                    typer.echo(json.dumps(each) if as_json else "\n".join(people.lines(each)))
                body["cursor"] = answer["next"]
                if answer["next"] is None:
                    break
        if not as_json:
            typer.echo(f"{count:,} {'person' if count == 1 else 'people'}.")

    asyncio.run(work())


@person.command(epilog="Example: rapport person show robin@example.com")
def show(who: Who, as_json: Json = False) -> None:
    """Show a person: roles, address, open sessions, choice about mail, and comments by state."""

    async def work() -> None:
        async with connected(load()) as services:
            found = await services.post("people", "/people/show", {"person": who})
            mail = await services.get("notify", f"/people/{found['id']}/mail")
            counts = await services.get("comments", f"/people/{found['id']}/counts")
        whole = found | {"mail": mail["notifications"], "comments": counts["counts"]}
        typer.echo(json.dumps(whole) if as_json else "\n".join(people.lines(whole)))

    asyncio.run(work())


@person.command(epilog="Example: rapport person grant robin@example.com author")
def grant(
    email: str,
    role: Annotated[str, typer.Argument(help="reader, author, moderator or admin.")],
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Grant a role to the person who has confirmed the address; reader takes all others away."""
    asyncio.run(_change_roles("/grants", email, role, dry_run, as_json))


@person.command(epilog="Example: rapport person revoke robin@example.com author")
def revoke(
    email: str,
    role: Annotated[str, typer.Argument(help="author, moderator or admin.")],
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Take a role from the person who has confirmed the address. The last admin stays one."""
    asyncio.run(_change_roles("/grants/revoke", email, role, dry_run, as_json))


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise Failed(f"There is no role {role!r}; there are {', '.join(ROLES[:-1])} and {ROLES[-1]}.")


async def _change_roles(path: str, email: str, role: str, dry_run: bool, as_json: bool) -> None:
    _check_role(role)
    body: dict[str, Any] = {"email": email, "role": role}
    if dry_run:  # a service of the version before refuses a field that it does not know
        body["dry_run"] = True
    async with connected(load()) as services:
        answer = await services.post("people", path, body)
    if as_json:
        typer.echo(json.dumps(answer | {"dry_run": dry_run}))
    else:
        typer.echo(f"{email} {'would be' if dry_run else 'is now'} {', '.join(answer['roles'])}.")


@sessions.command(epilog="Example: rapport person sessions end robin@example.com --all --dry-run")
def end(
    who: Who,
    every: Annotated[bool, typer.Option("--all", help="All that are open, and unused sign-in links.")] = False,
    session: Annotated[UUID | None, typer.Option(help="Only the one with this id.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which.")] = False,
    as_json: Json = False,
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
        waiting = answer.get("links", 0) + answer.get("hand_overs", 0)
        if waiting:
            typer.echo(f"{counted(waiting, 'sign-in')} under way {done}.")

    asyncio.run(work())
