"""UUIDv7 (RFC 9562, section 5.7): ids that sort by the millisecond of their creation."""

import os
import re
from datetime import UTC, datetime
from uuid import UUID

from uuid_utils.compat import uuid7

NUMBER_AT_END = re.compile(r"[0-9]{1,30}\Z")
ORDER_BITS = 40  # of 74 that are not time: enough for the largest blogs, and the others keep ids apart


def new_id() -> UUID:
    """Return a new id."""
    return uuid7()


def id_at(moment: datetime, source_id: str = "") -> UUID:
    """Return a new id whose time is `moment`, for imported data.

    Args:
        source_id: the id elsewhere. Its number orders ids of the same millisecond; a number at its end counts.

    Raises:
        ValueError: the moment is before 1970 or too far ahead for 48 bits of milliseconds.
    """
    milliseconds = round(moment.timestamp() * 1000)
    if not 0 <= milliseconds < 1 << 48:
        raise ValueError(f"{moment} does not fit into a UUIDv7")
    random = int.from_bytes(os.urandom(10), "big") & (1 << 74) - 1
    if number := NUMBER_AT_END.search(source_id):
        ordered = min(int(number[0]), (1 << ORDER_BITS) - 1)
        random = ordered << 74 - ORDER_BITS | random & (1 << 74 - ORDER_BITS) - 1
    value = milliseconds << 80 | 0x7 << 76 | random >> 62 << 64 | 0x2 << 62 | random & (1 << 62) - 1
    return UUID(int=value)


def moment_of(uuid: UUID) -> datetime:
    """Return the millisecond in which a UUIDv7 was created, UTC."""
    return datetime.fromtimestamp((uuid.int >> 80) / 1000, UTC)
