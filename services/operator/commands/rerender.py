"""`rapport rerender`."""

import asyncio
import json
from typing import Annotated

import typer

from services.operator.calls import connected
from services.operator.commands.options import Json
from services.operator.failures import Failed
from services.operator.moments import counted
from services.operator.settings import load


def rerender(
    service: Annotated[str, typer.Argument(help="posts or comments.")],
    after: Annotated[str | None, typer.Option(help="Go on after this id, as it was printed last.")] = None,
    as_json: Json = False,
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
        if as_json:
            typer.echo(json.dumps({"service": service, "rendered": rendered, "refused": refused}))
            return
        keeps = "keeps its" if refused == 1 else "keep their"
        kept = f"; {refused:,} cannot be rendered any more and {keeps} HTML" if refused else ""
        are = "is" if rendered == 1 else "are"
        typer.echo(f"{counted(rendered, 'text')} of {service} {are} rendered anew{kept}.")

    asyncio.run(work())
