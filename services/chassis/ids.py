"""UUIDv7 (RFC 9562, section 5.7): ids that sort by the millisecond of their creation."""

import os
from datetime import UTC, datetime
from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """Return a new id."""
    return uuid7()


def id_at(moment: datetime) -> UUID:
    """Return a new id whose time is `moment`, for imported data.

    Raises:
        ValueError: the moment is before 1970 or too far ahead for 48 bits of milliseconds.
    """
    milliseconds = round(moment.timestamp() * 1000)
    if not 0 <= milliseconds < 1 << 48:
        raise ValueError(f"{moment} does not fit into a UUIDv7")
    random = int.from_bytes(os.urandom(10), "big")
    value = milliseconds << 80 | random
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


def moment_of(uuid: UUID) -> datetime:
    """Return the millisecond in which a UUIDv7 was created, UTC."""
    return datetime.fromtimestamp((uuid.int >> 80) / 1000, UTC)
