"""Points in time as an operator types them, and numbers as an operator reads them."""

import re
from datetime import UTC, datetime, timedelta

from services.operator.failures import Failed

SPAN = re.compile(r"([1-9]\d{0,5})([smhd])")
NOTHING = re.compile(r"0+[smhd]?")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_since(text: str, now: datetime, option: str = "--since") -> datetime:
    """Parse a moment in the past: `2h` ago (s, m, h, d), or a date and time in ISO 8601, by default in UTC.

    Raises:
        Failed: it is neither, or does not lie in the past.
    """
    if span := SPAN.fullmatch(text.strip()):
        try:
            return now - timedelta(**{UNITS[span[2]]: int(span[1])})
        except OverflowError:
            raise Failed(f"{option} {text!r} is before all time: write 2h, 3d or 2026-11-23T04:35:00Z.") from None
    if NOTHING.fullmatch(text.strip()):
        raise Failed(f"{option} {text!r} is no time ago: write how long ago it was, such as 2h or 3d.")
    try:
        moment = datetime.fromisoformat(text.strip())
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Failed(f"{option} {text!r} is not a time: write 2h, 3d or 2026-11-23T04:35:00Z.") from None
    if moment > now:
        raise Failed(f"{option} {text!r} lies ahead.")
    return moment


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: `1 event`, `12,345 events`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
