"""List the dead letters of a consumer group, and send them again."""

import re
from collections.abc import Collection

from aiokafka.errors import KafkaConnectionError, KafkaError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from services.chassis.messaging.dead_letter import DeadLetter, entries, redrive
from services.chassis.messaging.producer import Unacknowledged
from services.chassis.messaging.topics import Unreachable
from services.chassis.runtime.settings import Settings
from services.contracts.topics import CONSUMER_GROUPS
from services.operator.failures import Failed
from services.operator.moments import counted


def _known(group: str) -> str:
    if group not in CONSUMER_GROUPS:
        raise Failed(f"There is no consumer group {group!r}; there are {' and '.join(CONSUMER_GROUPS)}.")
    return group


async def show(settings: Settings, group: str, console: Console) -> None:
    """Print every dead letter of the group that Kafka still has.

    Raises:
        Failed: there is no such group, or Kafka does not answer.
    """
    try:
        letters = await entries(settings, _known(group))
    except (KafkaError, TimeoutError, OSError) as error:
        raise _unavailable(settings, error) from error
    if not letters:
        console.print(f"{group} has no dead letters.")
        return
    table = Table("position", "put aside", "event", "from", "attempts", "redriven", "why", title=f"{group}.dead-letter")
    for letter in letters:
        table.add_row(*_cells(letter))
    console.print(table)


def _cells(letter: DeadLetter) -> tuple[str, ...]:
    """Return the cells of a table row; text from the wire is shown as text, not as markup."""
    return (
        str(letter.position),
        letter.put_at.isoformat(timespec="seconds"),
        escape(letter.type),
        escape(f"{letter.topic}/{letter.partition}@{letter.offset}"),
        str(letter.attempts),
        "yes" if letter.redriven else "no",
        escape(letter.error),
    )


async def send_again(settings: Settings, group: str, positions: Collection[int], console: Console) -> None:
    """Publish dead letters to their original topic again: those at the positions, or all that were not sent yet.

    Raises:
        Failed: there is no such group or position, or Kafka does not answer.
    """
    wanted = set(positions)
    try:
        if wanted:
            present = {letter.position for letter in await entries(settings, _known(group))}
            if missing := wanted - present:
                raise Failed(f"{group} has no dead letter at position {', '.join(map(str, sorted(missing)))}.")
        chosen = (lambda letter: letter.position in wanted) if wanted else None
        sent = await redrive(settings, _known(group), chosen)
    except (KafkaError, Unacknowledged, TimeoutError, OSError) as error:
        raise _unavailable(settings, error) from error
    console.print(f"{counted(len(sent), 'dead letter')} of {group} sent again.")


def _unavailable(settings: Settings, error: Exception) -> Failed:
    """Return the sentence for an error of Kafka, without the words of its client."""
    if isinstance(error, (KafkaConnectionError, TimeoutError, OSError)):
        unreachable = Unreachable(settings.kafka_bootstrap_servers, bool(settings.kafka_username))
        return Failed(f"{unreachable}, or wait until it runs again.")
    if isinstance(error, Unacknowledged):
        return Failed(
            f"Kafka at {settings.kafka_bootstrap_servers} did not take every dead letter: repeat the command; "
            "consumers ignore those that come twice."
        )
    return Failed(f"Kafka at {settings.kafka_bootstrap_servers} refused: {_words(error)}.")


def _words(error: Exception) -> str:
    """Return the name of an error in words: `TopicAuthorizationFailedError` is "topic authorization failed"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__.removesuffix("Error")).lower()
