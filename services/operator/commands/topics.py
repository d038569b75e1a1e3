"""`rapport topics`: apply."""

import asyncio
import json
from typing import Annotated

import typer

from services.operator import topics
from services.operator.settings import load_shared

app = typer.Typer(help="The topics of Kafka.", no_args_is_help=True)


@app.callback()
def several() -> None:
    """Manage the topics of Kafka."""


@app.command("apply", epilog="Example: rapport topics apply --dry-run")
def apply_topics(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what differs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Create missing topics and alter the settings of those that are there, as KAFKA_USERNAME. It may be repeated.

    Partitions and replicas are never changed; what differs there is said. Status 1: something that does harm is left.
    """
    settings = load_shared()

    async def work() -> topics.Plan:
        todo = await topics.plan(settings)
        if not dry_run:
            await topics.apply(settings, todo)
        return todo

    done = asyncio.run(work())
    if as_json:
        typer.echo(json.dumps(topics.as_json(done, dry_run=dry_run)))
    else:
        typer.echo("\n".join(topics.lines(done, dry_run=dry_run)))
    if any(one.is_fault for one in done.left):
        raise typer.Exit(1)
