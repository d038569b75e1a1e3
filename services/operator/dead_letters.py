"""List the dead letters of a consumer group, send them again, or mark them as dealt with."""

import re
from base64 import b64encode
from collections.abc import Callable, Collection, Sequence
from typing import Any

from aiokafka.errors import KafkaConnectionError, KafkaError

from services.chassis.messaging import dead_letter
from services.chassis.messaging.dead_letter import DeadLetter
from services.chassis.messaging.producer import Unacknowledged
from services.chassis.messaging.unreachable import Unreachable
from services.chassis.runtime.settings import Settings
from services.contracts.event import rfc3339
from services.operator.failures import Failed

ERRORS = (KafkaError, Unacknowledged, TimeoutError, OSError)


async def read(settings: Settings, group: str, positions: Collection[int] = ()) -> list[DeadLetter]:
    """Return the group's dead letters, dropped ones too: all, or those at the positions.

    Raises:
        Failed: there is no such position, or Kafka does not answer.
    """
    try:
        letters = await dead_letter.entries(settings, group)
    except ERRORS as error:
        raise _unavailable(settings, error) from error
    if missing := set(positions) - {position for letter in letters for position in letter.positions}:
        raise Failed(f"{group} has no dead letter at position {', '.join(map(str, sorted(missing)))}.")
    return [letter for letter in letters if not positions or not set(positions).isdisjoint(letter.positions)]


async def send_again(
    settings: Settings, group: str, letters: Sequence[DeadLetter], progress: Callable[[int], object]
) -> None:
    """Publish these dead letters to their original topic again.

    Raises:
        Failed: Kafka does not answer, or does not take every letter.
    """
    try:
        await dead_letter.redrive(settings, group, letters, progress)
    except ERRORS as error:
        raise _unavailable(settings, error) from error


async def drop(settings: Settings, group: str, letters: Sequence[DeadLetter]) -> None:
    """Mark these dead letters as dealt with.

    Raises:
        Failed: Kafka does not answer, or does not take every mark.
    """
    try:
        await dead_letter.drop(settings, group, letters)
    except ERRORS as error:
        raise _unavailable(settings, error) from error


def as_json(letter: DeadLetter) -> dict[str, Any]:
    """Return a dead letter in full. Bytes that are not UTF-8 are given in base64, under another name."""
    fields = {
        "position": letter.position,
        "positions": list(letter.positions),
        "state": letter.state,
        "redrives": letter.redrives,
        "type": letter.type,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "error": letter.error,
        "attempts": letter.attempts,
        "first": rfc3339(letter.first),
        "last": rfc3339(letter.last),
        "headers": [_text("value", value) | {"name": name} for name, value in letter.headers],
    }
    return fields | _text("key", letter.key) | _text("payload", letter.value)


def _text(name: str, value: bytes | None) -> dict[str, str | None]:
    try:
        return {name: None if value is None else value.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": b64encode(value or b"").decode()}


def lines(letter: DeadLetter, *, full: bool) -> list[str]:
    """Return a dead letter as lines; each field whole, one a line, with nothing in it that acts on a terminal."""
    again = f", sent again {letter.redrives} time{'' if letter.redrives == 1 else 's'}" if letter.redrives else ""
    found = [
        f"{letter.position}  {letter.state}{again}  {letter.type}",
        f"    from      {letter.topic}/{letter.partition}@{letter.offset}",
        f"    why       {letter.error}",
        f"    attempts  {letter.attempts}",
        f"    first     {rfc3339(letter.first)}",
        f"    last      {rfc3339(letter.last)}",
    ]
    if full:
        found += [f"    header    {name}: {_shown(value)}" for name, value in letter.headers]
        found += [f"    key       {_shown(letter.key)}", f"    payload   {_shown(letter.value)}"]
    return [printable(line) for line in found]


def _shown(value: bytes | None) -> str:
    return "none" if value is None else value.decode("utf-8", "backslashreplace")


def printable(text: str) -> str:
    """Return the text with what acts on a terminal written as escapes."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


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
