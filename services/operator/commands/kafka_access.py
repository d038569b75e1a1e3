"""`rapport kafka-access`."""

import asyncio
from typing import Annotated

import typer
from rich.console import Console

from services.operator import broker_access
from services.operator.settings import load_shared


def kafka_access(
    show: Annotated[bool, typer.Option("--show", help="Only show the rights.")] = False,
) -> None:
    """Create the broker's access control lists, as KAFKA_USERNAME: only its owner writes a topic. May be repeated."""
    settings = load_shared()
    if show:
        broker_access.show(settings, Console())
    else:
        asyncio.run(broker_access.give(settings, Console()))
