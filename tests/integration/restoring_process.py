"""A service's program whose restore applies nothing again.

`python -m tests.integration.restoring_process NAME ROLE …` is `python -m services.NAME ROLE …`.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from typing import Any

from services.chassis.backup.restore import CatchUp
from services.chassis.database.pool import Transaction
from services.chassis.runtime.settings import Settings
from services.contracts.topics import EVENT_TOPICS, Topic


@dataclass(frozen=True)
class NoHistory:
    """A history without events."""

    epoch: int = 0
    undecodable: int = 0
    kept_since: datetime | None = None


async def read_nothing(settings: Settings, topic: Topic, since: datetime) -> NoHistory:
    return NoHistory()


async def apply_nothing(tx: Transaction, history: NoHistory, epoch: int) -> Mapping[str, int]:
    return {}


def nothing_again(service: str) -> CatchUp[NoHistory]:
    topic = next(topic for topic in EVENT_TOPICS if topic.name == f"{service}.events")
    return CatchUp(topic, read_nothing, apply_nothing)


def main() -> None:
    service = sys.argv.pop(1)
    module: Any = import_module(f"services.{service}.__main__")
    module.CATCH_UP = nothing_again(service)
    module.main()


if __name__ == "__main__":
    main()
