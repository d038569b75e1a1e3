"""`rapport setup`: whose site this is, and who writes first."""

import asyncio
import json
import shutil
import sys
import textwrap
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from services.operator.commands.options import Json
from services.operator.failures import Failed
from services.operator.introducing import Introduced, introduce, served_site
from services.operator.settings import home, load_shared
from services.operator.site_settings import CHECKS, FILE, SettingFile, is_listed, opened_settings

VARIABLES = {"name": "SITE_NAME", "tagline": "SITE_TAGLINE"}
ADMINS = "ADMIN_EMAILS"
QUESTIONS = {
    "name": "Name of the site",
    "tagline": "What it is about, in one line (may be empty)",
    "author": "Name of the first author",
    "email": "E-mail address of the first author",
}
PATIENT_SECONDS = 300.0  # while somebody sits before the terminal, and presses the link


def setup(
    name: Annotated[str | None, typer.Option(help="The site's name, 1 to 100 characters.")] = None,
    tagline: Annotated[str | None, typer.Option(help="What it is about, in one line; '' for none.")] = None,
    author: Annotated[str | None, typer.Option(help="The first author's name, for who is new here.")] = None,
    email: Annotated[str | None, typer.Option(help="The first author's address.")] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", help="The file of the settings, such as .env; by default that of the local stack."),
    ] = None,
    wait: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=3600,
            metavar="SECONDS",
            help="How long to wait for a new author to use the link in the mail; 300 if you were asked, else 0.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    as_json: Json = False,
) -> None:
    """Name the site and its first author. What is not given is asked for, where there is somebody to ask.

    It writes settings, grants the author's role, and may be repeated. The first address becomes the administrator's too
    where nobody is one. Status 1: refused, or the author has no role yet.
    """
    given = {"name": name, "tagline": tagline, "author": author, "email": email}
    path = home() / FILE if file is None else file.expanduser()
    present = _present(path, make=file is None)
    asks = not as_json and _may_ask()
    checked = _asked(given, present) if asks else {key: _checked(key, text) for key, text in given.items() if text}
    if not asks and all(text is None for text in given.values()):
        raise typer.BadParameter("say at least one of them, where nobody can be asked", param_hint="--name … --email")
    if tagline is not None and not tagline.strip():
        checked["tagline"] = ""
    changes = _write(path, checked, make=file is None, dry_run=dry_run)
    waits = (PATIENT_SECONDS if asks else 0.0) if wait is None else wait
    _finish(path, file is None, {**present, **changes}, changes, checked, dry_run=dry_run, as_json=as_json, wait=waits)


def _may_ask() -> bool:
    return sys.stdin.isatty()


def _present(path: Path, *, make: bool) -> dict[str, str]:
    with opened_settings(path, make=make, to_change=False) as settings:
        return _values(settings)


def _values(settings: SettingFile) -> dict[str, str]:
    return {variable: settings.value(variable) for variable in (*VARIABLES.values(), ADMINS)}


def _checked(key: str, text: str) -> str:
    try:
        return CHECKS[key](text)
    except ValueError as error:
        raise Failed(f"--{key} {error}. Nothing was changed.") from None


def _asked(given: Mapping[str, str | None], present: Mapping[str, str]) -> dict[str, str]:
    """Ask for what is not given; what stands there is the answer of who presses Enter."""
    defaults = {key: present[variable] for key, variable in VARIABLES.items()}
    defaults["email"] = present[ADMINS].partition(",")[0].strip()
    answers: dict[str, str] = {}
    for key, text in given.items():
        if text is not None:
            answers[key] = _checked(key, text)
            continue
        default = defaults.get(key) or ("" if key == "tagline" else None)
        answers[key] = typer.prompt(
            QUESTIONS[key], default, show_default=bool(default), value_proc=partial(_answer, key)
        )
    return answers


def _answer(key: str, typed: str) -> str:
    try:
        return CHECKS[key](typed)
    except ValueError as error:
        raise typer.BadParameter(f"it {error}; once more:") from None


def _write(path: Path, checked: Mapping[str, str], *, make: bool, dry_run: bool) -> dict[str, str]:
    """Write the settings that differ; return them."""
    if dry_run:
        with opened_settings(path, make=make, to_change=False) as settings:
            changes = _changes(settings, checked)
            settings.with_values(changes)
        return changes
    with opened_settings(path, make=make) as settings:
        changes = _changes(settings, checked)
        if changes:
            settings.write(changes)
    return changes


def _changes(settings: SettingFile, checked: Mapping[str, str]) -> dict[str, str]:
    present = _values(settings)
    wanted = {variable: checked[key] for key, variable in VARIABLES.items() if key in checked}
    if "email" in checked and not present[ADMINS]:
        wanted[ADMINS] = checked["email"]
    return {variable: value for variable, value in wanted.items() if value != present[variable]}


def _finish(
    path: Path,
    local: bool,
    now: Mapping[str, str],
    changes: Mapping[str, str],
    checked: Mapping[str, str],
    *,
    dry_run: bool,
    as_json: bool,
    wait: float,
) -> None:
    """Introduce the author, and tell what was done and what comes next."""
    if not as_json:
        _say_written(path, changes, dry_run)
    state, served = asyncio.run(_look(checked, dry_run, wait, quiet=as_json))
    admin = "email" in checked and is_listed(checked["email"], now[ADMINS])
    steps = _next(local, now, bool(changes), served, checked.get("email"), state)
    if as_json:
        told: dict[str, Any] = {"file": str(path), "changed" if not dry_run else "would_change": dict(changes)}
        told |= {"email": checked.get("email"), "author": state, "administrator": admin}
        typer.echo(json.dumps(told | {"next": steps, "dry_run": dry_run}))
    else:
        if state is not None:
            _tell(_sentence(checked["email"], state, admin, dry_run))
        typer.echo("\n".join(["Next:", *(f"    {step}" for step in steps)]))
    if not dry_run and not admin and state in ("mailed", "unknown", "away"):
        raise typer.Exit(1)


async def _look(
    checked: Mapping[str, str], dry_run: bool, wait: float, *, quiet: bool
) -> tuple[Introduced | None, Any]:
    settings = load_shared()
    served = await served_site(settings.public_url)
    if "email" not in checked:
        return None, served
    email, author = checked["email"], checked.get("author")
    say = (lambda _: None) if quiet else _tell
    try:
        return await introduce(settings, email, author, dry_run=dry_run, wait=wait, say=say), served
    except asyncio.CancelledError:  # Ctrl-C while waiting: the mail is on its way
        return "mailed", served


def _tell(sentence: str) -> None:
    width = shutil.get_terminal_size().columns
    typer.echo(textwrap.fill(sentence, width, break_long_words=False, break_on_hyphens=False))


def _say_written(path: Path, changes: Mapping[str, str], dry_run: bool) -> None:
    if not changes:
        typer.echo(f"{path} says so already.")
        return
    typer.echo(f"{'Would be written' if dry_run else 'Written'} to {path}:")
    for variable, value in changes.items():
        typer.echo(f"    {variable}={value}")


def _sentence(email: str, state: Introduced, admin: bool, dry_run: bool) -> str:
    later = (
        "They are the administrator from the first sign-in on, and may write then."
        if admin
        else f"They have no role yet: repeat this once they have signed in, or say: rapport person grant {email} author"
    )
    match state:
        case "granted":
            return f"{email} {'would become' if dry_run else 'is now'} an author."
        case "has":
            return f"{email} is an author already."
        case "mailed":
            return f"A mail with a sign-in link {'would go' if dry_run else 'is on its way'} to {email}. {later}"
        case "unknown":
            return f"Nobody has confirmed {email}; with --author NAME a mail goes there. {later}"
        case "away":
            return f"The services do not run here now, so nobody was asked about {email}. {later}"


def _next(
    local: bool, now: Mapping[str, str], changed: bool, served: Any, email: str | None, state: Introduced | None
) -> list[str]:
    """Return the commands and addresses that come next, a line each."""
    again, anew = ("make up", "make down, then make up") if local else ("docker compose up -d --wait",) * 2
    url = load_shared().public_url.rstrip("/")
    steps = []
    if served is None:
        steps.append(again)
    elif changed or any(now[VARIABLES[key]] not in ("", served.get(key)) for key in VARIABLES):
        steps.append(f"{anew} (the site takes its settings when it starts)")
    if email is not None and state not in ("granted", "has"):
        steps.append(
            f"sign in as {email} by the link in the mail"
            if state == "mailed"
            else f"register as {email} at {url}/sign-in (below “New here?”)"
        )
    steps.append(f"write at {url}/write")
    return steps
