"""Arguments and options that several commands of `rapport` have."""

from typing import Annotated

import typer

from services.contracts.topics import CONSUMER_GROUPS
from services.operator.failures import Failed


def _known_group(group: str) -> str:
    if group not in CONSUMER_GROUPS:
        raise Failed(f"There is no consumer group {group!r}; the groups are {', '.join(CONSUMER_GROUPS)}.")
    return group


Group = Annotated[str, typer.Argument(help="A consumer group, such as notify.", callback=_known_group)]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
