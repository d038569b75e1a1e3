"""`rapport resync`."""

import asyncio
from typing import Annotated
from uuid import UUID

import orjson
import typer

from services.operator import resyncing
from services.operator.calls import connected
from services.operator.commands.options import Json
from services.operator.failures import Failed
from services.operator.settings import load


def resync(
    service: Annotated[str, typer.Argument(help="posts, comments or people.")],
    after: Annotated[str | None, typer.Option(help="Go on after this id, as it was printed last.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    as_json: Json = False,
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

    asyncio.run(work())


def _parse_id(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise Failed(f"--after {text!r} is not an id: take the one that was printed last.") from None
