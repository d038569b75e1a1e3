"""Points in time as an operator types them."""

import re
from datetime import UTC, datetime, timedelta

from services.operator.failures import Failed

SPAN = re.compile(r"([1-9]\d{0,5})([smhd])")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_since(text: str, now: datetime) -> datetime:
    """Parse a moment in the past: `2h` ago (s, m, h, d), or a date and time in ISO 8601, by default in UTC.

    Raises:
        Failed: it is neither, or lies in the future.
    """
    if span := SPAN.fullmatch(text.strip()):
        return now - timedelta(**{UNITS[span[2]]: int(span[1])})
    try:
        moment = datetime.fromisoformat(text.strip())
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Failed(f"--since {text!r} is not a time: write 2h, 3d or 2026-11-23T04:35:00Z.") from None
    if moment > now:
        raise Failed(f"--since {text!r} lies ahead.")
    return moment
