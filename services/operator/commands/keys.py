"""`rapport keys`: a new set; rotate, switch, drop, status."""

import asyncio
import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from services.operator import key_users
from services.operator.commands.options import Json
from services.operator.doctor.processes import Process, read_processes
from services.operator.doctor.settings import DoctorSettings
from services.operator.failures import Failed
from services.operator.key_file import KeyFile, opened
from services.operator.key_rotation import NAMES, SECRET, Changes, DerivationSecret, read
from services.operator.key_users import Keys
from services.operator.keys import generate_keys
from services.operator.moments import parse_since
from services.operator.settings import home, load_as

app = typer.Typer(
    help="Keys of the installation: a new set; rotate, switch, drop, status.",
    epilog="Example: rapport keys > keys.env",
    invoke_without_command=True,
)


def _known(name: str) -> str:
    if name not in NAMES:
        raise typer.BadParameter(f"there is no key {name!r}; there are {', '.join(NAMES)}")
    return name


Name = Annotated[str, typer.Argument(metavar="KEY", help=f"One of {', '.join(NAMES)}.", callback=_known)]
File = Annotated[
    Path | None, typer.Option("--file", help="The file of the keys, such as .env; by default that of the local stack.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")]
Restarted = Annotated[
    str | None,
    typer.Option(
        metavar="WHEN",
        help="Since when every process runs with the file as it is, such as 2h; by default their metrics ports are "
        "asked (METRICS_URLS).",
    ),
]


@app.callback()
def new_set(context: typer.Context) -> None:
    """Manage keys. Without a command: print a fresh set for a new installation, as lines for an environment file."""
    if context.invoked_subcommand is None:
        for name, value in generate_keys().items():
            typer.echo(f"{name}='{value}'")


@app.command(epilog="Example: rapport keys rotate gateway --file .env")
def rotate(name: Name, file: File = None, dry_run: DryRun = False, as_json: Json = False) -> None:
    """Begin to replace a key: add the next one, which everybody accepts from the next start on."""
    with opened(_path(file)) as keys:
        key = read(keys, name)
        if key.step == "added" or (key.step == "switched" and name != SECRET):
            raise Failed(f"{key.own_id} is being replaced already. {_next(key)}")
        _take(keys, name, key.rotated(), dry_run=dry_run, as_json=as_json)


@app.command(epilog="Example: rapport keys switch gateway --dry-run")
def switch(
    name: Name, file: File = None, restarted: Restarted = None, dry_run: DryRun = False, as_json: Json = False
) -> None:
    """Let the next key sign, once every process accepts it; the present one is accepted further on."""
    with opened(_path(file)) as keys:
        key = read(keys, name)
        if key.step != "added":
            raise Failed(f"There is no next key to switch to; {key.own_id} is in use. {_next(key)}".strip())
        if restarted is None:
            _refuse(key_users.obstacles_to_switch(key, _processes()))
        else:
            _moment(restarted, keys)
        _take(keys, name, key.switched(), dry_run=dry_run, as_json=as_json)


@app.command(epilog="Example: rapport keys drop gateway")
def drop(
    name: Name,
    file: File = None,
    restarted: Restarted = None,
    links_end: Annotated[
        bool, typer.Option("--links-end", help="Earlier unsubscribe links may end: they have no other end.")
    ] = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Take out the earlier key, once nothing that it signed is valid; or the next one, if it never signed."""
    with opened(_path(file)) as keys:
        key = read(keys, name)
        if key.step == "single":
            raise Failed(f"There is nothing to drop: {key.own_id} is the only one.")
        if isinstance(key, DerivationSecret):
            if key.step == "switched" and not links_end:
                raise Failed(
                    "Unsubscribe links in mails have no end, and those by earlier secrets would stop working: keep "
                    "these secrets, or say --links-end."
                )
        elif restarted is not None:
            since = _moment(restarted, keys).timestamp()
            _refuse([] if key.step == "added" else key_users.left_to_wait(key, since, now=time.time()))
        else:
            _refuse(key_users.obstacles_to_drop(key, _processes(), now=time.time(), switched_at=keys.changed_at))
        dropped = f"Start every process again: until then {key.other_id} is accepted."
        _take(keys, name, key.dropped(), dry_run=dry_run, as_json=as_json, then=dropped)


@app.command(epilog="Example: rapport keys status --json")
def status(file: File = None, as_json: Json = False) -> None:
    """Show which keys are in use, which others are accepted, and the next step of each replacement."""
    with opened(_path(file), to_change=False) as keys:
        found = [read(keys, name) for name in NAMES]
    for key in found:
        typer.echo(json.dumps(_described(key)) if as_json else _line(key))


def _path(file: Path | None) -> Path:
    return home() / "keys.env" if file is None else file.expanduser()


def _processes() -> list[Process]:
    return asyncio.run(read_processes(load_as(DoctorSettings).metrics_addresses))


def _moment(text: str, keys: KeyFile) -> datetime:
    """Return since when every process runs with the file as it is, which cannot be before its last change."""
    moment = parse_since(text, datetime.now(UTC), "--restarted")
    changed = datetime.fromtimestamp(keys.changed_at, UTC)
    if moment < changed - timedelta(seconds=1):
        raise Failed(
            f"{keys.path} was changed at {changed:%Y-%m-%d %H:%M:%S} UTC, so no process can run with it as it is since "
            f"{moment:%Y-%m-%d %H:%M:%S} UTC. Nothing was changed."
        )
    return moment


def _refuse(obstacles: list[str]) -> None:
    if obstacles:
        raise Failed("\n         ".join([*obstacles, "Nothing was changed."]))


def _take(keys: KeyFile, name: str, changes: Changes, *, dry_run: bool, as_json: bool, then: str | None = None) -> None:
    """Write the changes of one step, and tell what is now and what comes next."""
    if dry_run:
        told: dict[str, Any] = {"key": name, "dry_run": True, "would_change": sorted(changes), "file": str(keys.path)}
        sentence = f"{' and '.join(sorted(changes))} would change in {keys.path}. Nothing was changed."
    else:
        keys.write(changes)
        key = read(replace(keys, text=keys.with_values(changes)), name)
        told = _described(key) | {"dry_run": False, "changed": sorted(changes), "file": str(keys.path)}
        told |= {"next": then} if then else {}
        here = " Beside `make up`: make down, then make up." if keys.path == _path(None).resolve() else ""
        sentence = (f"{_line(key)} {then}" if then else _line(key)) + here
    typer.echo(json.dumps(told) if as_json else sentence)


def _described(key: Keys) -> dict[str, Any]:
    accepted = key.other_id.split(", ") if key.other_id else []
    return {"key": key.name, "step": key.step, "in_use": key.own_id, "also_accepted": accepted, "next": _next(key)}


def _line(key: Keys) -> str:
    accepted = f"; accepted too: {key.other_id}" if key.other_id else ""
    use = "is in use from its next start on" if key.step == "switched" else "is in use"
    return f"{key.name}: {key.own_id} {use}{accepted}. {_next(key)}".rstrip()


def _next(key: Keys) -> str:
    owner = "notify" if key.name == SECRET else key.name
    match key.step:
        case "added":
            return f"Start every process again with this file, then: rapport keys switch {key.name}"
        case "switched" if isinstance(key, DerivationSecret):
            return "Start notify again with this file. Earlier secrets stay, because unsubscribe links have no end."
        case "switched" if key.name == "operator":
            return f"Give this file to everybody who runs commands, then: rapport keys drop {key.name}"
        case "switched":
            return f"Start {owner} again with this file, then: rapport keys drop {key.name}"
        case _:
            return ""
