"""`rapport republish`."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated

import orjson
import typer

from services.operator import republishing
from services.operator.calls import SERVICES, connected
from services.operator.commands.options import Json
from services.operator.failures import Failed
from services.operator.moments import parse_since
from services.operator.settings import load


def republish(
    service: Annotated[str, typer.Argument(help="posts, comments, people or notify.")],
    since: Annotated[str, typer.Option(help="2h, 3d, or a time such as 2026-11-23T04:35:00Z.")],
    after: Annotated[int, typer.Option(min=0, help="Go on after this number, as it was printed last.")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    as_json: Json = False,
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

    asyncio.run(work())
