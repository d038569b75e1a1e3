"""The `rapport` command."""

import asyncio
import logging
import sys
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar
from uuid import UUID

import orjson
import structlog
import typer
from rich.console import Console

from services.chassis.errors import Problem
from services.contracts.services import READERS
from services.operator import broker_access, checking, consumers, republishing, resyncing
from services.operator.calls import SERVICES, connected
from services.operator.commands import mail, topics
from services.operator.commands.backup import backup
from services.operator.commands.dead_letter import letters
from services.operator.commands.doctor import doctor
from services.operator.commands.person import person
from services.operator.commands.restore import restore
from services.operator.failures import Failed
from services.operator.keys import generate_keys
from services.operator.moments import counted, parse_since
from services.operator.settings import load, load_shared
from services.operator.wordpress.importing import Import
from services.operator.wordpress.progress import Progress
from services.operator.wordpress.report import Report
from services.operator.wordpress.rules import ADDRESS

T = TypeVar("T")

app = typer.Typer(name="rapport", help="Operate a Rapport installation.", no_args_is_help=True, add_completion=False)
importing = typer.Typer(help="Import posts and comments of another system.", no_args_is_help=True)
app.add_typer(person, name="person")
app.add_typer(importing, name="import")
app.add_typer(letters, name="dead-letter")
app.add_typer(mail.app, name="mail")
app.add_typer(consumers.app, name="consumer")
app.add_typer(topics.app, name="topics")
app.command(epilog="Example: rapport doctor --dkim-selector mail --disk /var/lib/postgresql")(doctor)
app.command(epilog="Example: rapport backup /backups/2026-11-27")(backup)
app.command(epilog="Example: rapport restore /backups/2026-11-27 comments notify --dry-run")(restore)


def run_async(work: Coroutine[None, None, T]) -> T:
    """Run the coroutine and return its result; Ctrl-C cancels it."""
    return asyncio.run(work)


@app.command()
def keys() -> None:
    """Print a fresh set of keys for a new installation, as lines for an environment file."""
    for name, value in generate_keys().items():
        typer.echo(f"{name}='{value}'")


@app.command("kafka-access")
def kafka_access(
    show: Annotated[bool, typer.Option("--show", help="Only show the rights.")] = False,
) -> None:
    """Create the broker's access control lists, as KAFKA_USERNAME: only its owner writes a topic. May be repeated."""
    settings = load_shared()
    if show:
        broker_access.show(settings, Console())
    else:
        run_async(broker_access.give(settings, Console()))


@app.command(epilog="Example: rapport republish posts --since 2h")
def republish(
    service: Annotated[str, typer.Argument(help="posts, comments, people or notify.")],
    since: Annotated[str, typer.Option(help="2h, 3d, or a time such as 2026-11-23T04:35:00Z.")],
    after: Annotated[int, typer.Option(min=0, help="Go on after this number, as it was printed last.")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Publish again every event that a service has published since then. Consumers ignore duplicates.

    It goes in batches, as fast as they are sent. After an interruption, repeat it, or go on with --after.
    """
    if service not in SERVICES:
        raise Failed(f"There is no service {service!r} with events; there are {', '.join(SERVICES)}.")
    moment = parse_since(since, datetime.now(UTC))

    async def work() -> None:
        settings = load()
        async with connected(settings) as services:
            patience = settings.patience_seconds
            result = await republishing.republish(services, service, moment, after, patience, dry_run=dry_run)
            typer.echo(orjson.dumps(result).decode() if as_json else republishing.sentence(result))

    run_async(work())


@app.command(epilog="Example: rapport resync posts")
def resync(
    service: Annotated[str, typer.Argument(help="posts, comments or people.")],
    after: Annotated[str | None, typer.Option(help="Go on after this id, as it was printed last.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """State everything that a service owns, so that others know that and nothing else. It sends no mail.

    It goes in batches, while everything runs. After an interruption, repeat it, or go on with --after.
    """
    if service not in resyncing.OWNERS:
        raise Failed(f"Nobody reads what {service!r} owns; there are {', '.join(resyncing.OWNERS)}.")
    place = None if after is None else _parse_id(after)

    async def work() -> None:
        settings = load()
        async with connected(settings) as services:
            result = await resyncing.resync(services, service, place, settings.patience_seconds, dry_run=dry_run)
            typer.echo(orjson.dumps(result).decode() if as_json else resyncing.sentence(result))

    run_async(work())


def _parse_id(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise Failed(f"--after {text!r} is not an id: take the one that was printed last.") from None


@app.command(epilog="Example: rapport check --json")
def check(
    service: Annotated[str | None, typer.Argument(help="posts or comments; without one, both.")] = None,
    wait: Annotated[float, typer.Option(min=0, help="For how many seconds readers may lag behind.")] = 30,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Compare what services know of each other with what its owners say, and name the mend. Status 1: it differs.

    What differs is looked at again until it is alike or the time is over: readers follow a moment later.
    """
    if service is not None and service not in READERS:
        raise Failed(f"Nobody keeps what {service!r} owns; there are {', '.join(READERS)}.")

    async def work() -> bool:
        async with connected(load()) as services:
            found = await checking.check(services, [service] if service else list(READERS), wait)
        if as_json:
            typer.echo(orjson.dumps([checking.as_json(one) for one in found]).decode())
        else:
            for one in found:
                typer.echo(checking.sentence(one))
        return any(one.differing for one in found)

    if run_async(work()):
        raise typer.Exit(1)


@app.command()
def rerender(
    service: Annotated[str, typer.Argument(help="posts or comments.")],
    after: Annotated[str | None, typer.Option(help="Go on after this id, as it was printed last.")] = None,
) -> None:
    """Render anew every text that an older renderer has rendered. After an interruption, repeat it."""
    if service not in ("posts", "comments"):
        raise Failed(f"{service!r} renders no texts; posts and comments do.")

    async def work() -> None:
        rendered = refused = 0
        last = after
        async with connected(load()) as services:
            while True:
                answer = await services.post(service, "/rerender", {"after": last})
                rendered, refused, last = rendered + answer["rendered"], refused + answer["refused"], answer["next"]
                if last is None:
                    break
                typer.echo(f"{counted(rendered, 'text')} rendered, up to {last}", err=True)
        keeps = "keeps its" if refused == 1 else "keep their"
        kept = f"; {refused:,} cannot be rendered any more and {keeps} HTML" if refused else ""
        are = "is" if rendered == 1 else "are"
        typer.echo(f"{counted(rendered, 'text')} of {service} {are} rendered anew{kept}.")

    run_async(work())


@importing.command()
def wordpress(
    file: Annotated[Path, typer.Argument(help="An export file of WordPress (Tools, Export), as it is, zip or gzip.")],
    site: Annotated[str, typer.Option(help="The address of the blog, if the file does not say it.")] = "",
) -> None:
    """Import posts, pages and comments of a WordPress export. Repeating it adds nothing; after a kill, repeat it."""
    shown = Console()
    blog = site if "://" in site or not site else f"https://{site}"
    if blog and not ADDRESS.fullmatch(blog):
        raise Failed(f"--site {site!r} is not an address: write it like https://blog.example.")

    async def work() -> Report:
        async with connected(load()) as services:
            with Progress(Console(stderr=True)) as progress:
                return await Import(file, services, progress, datetime.now(UTC), blog).run()

    report = run_async(work())
    report.show(shown)
    if not report.is_complete:
        raise Failed("Not everything was imported; see the report.")


def main() -> None:
    """Run the command. A failure ends with one sentence and status 1."""
    logging.basicConfig(level=logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        app()
    except Failed as error:
        _end(str(error))
    except Problem as problem:
        _end("; ".join(f"{error.field} {error.message}" for error in problem.errors) or problem.detail)


def _end(sentence: str) -> NoReturn:
    typer.echo(f"rapport: {sentence}", err=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
