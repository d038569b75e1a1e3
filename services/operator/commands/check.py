"""`rapport check`."""

import asyncio
from typing import Annotated

import orjson
import typer

from services.contracts.services import READERS
from services.operator import checking
from services.operator.calls import connected
from services.operator.commands.options import Json
from services.operator.failures import Failed
from services.operator.settings import load


def check(
    service: Annotated[str | None, typer.Argument(help="posts, comments or people; without one, all.")] = None,
    wait: Annotated[float, typer.Option(min=0, help="For how many seconds readers may lag behind.")] = 30,
    as_json: Json = False,
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

    if asyncio.run(work()):
        raise typer.Exit(1)
