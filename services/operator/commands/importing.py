"""`rapport import`: posts and comments of another system."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from services.operator.calls import connected
from services.operator.failures import Failed
from services.operator.settings import load
from services.operator.wordpress.importing import Import
from services.operator.wordpress.progress import Progress
from services.operator.wordpress.report import Report
from services.operator.wordpress.rules import ADDRESS

app = typer.Typer(help="Import posts and comments of another system.", no_args_is_help=True)


@app.command(epilog="Example: rapport import wordpress export.xml --site https://blog.example")
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

    report = asyncio.run(work())
    report.show(shown)
    if not report.is_complete:
        raise Failed("Not everything was imported; see the report.")
