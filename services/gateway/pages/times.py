"""Say when something happened: exactly, and as people say it."""

from datetime import UTC, datetime

WORDS_A_MINUTE = 230
MINUTE, HOUR, DAY, MONTH = 60, 3_600, 86_400, 30 * 86_400  # seconds


def moment(text: str | None) -> str:
    """Return a time in words, such as `23 November 2026, 04:35 UTC`."""
    if text is None:
        return ""
    when = datetime.fromisoformat(text)
    return f"{when.day} {when:%B %Y, %H:%M} UTC"


def month(text: str) -> str:
    """Return the month of a time, such as `November 2026`."""
    return f"{datetime.fromisoformat(text):%B %Y}"


def reading_minutes(words: int | None) -> int | None:
    """Return how many minutes a text of so many words takes to be read, for one that takes some."""
    return None if not words or words < WORDS_A_MINUTE else round(words / WORDS_A_MINUTE)


def ago(text: str, now: datetime | None = None) -> str:
    """Return how long ago a time is, such as `3 days ago`; after a month its date."""
    when = datetime.fromisoformat(text)
    seconds = int(((now or datetime.now(UTC)) - when).total_seconds())
    if seconds < MINUTE:
        return "just now"
    if seconds < HOUR:
        count = seconds // MINUTE
        return "1 minute ago" if count == 1 else f"{count} minutes ago"
    if seconds < DAY:
        count = seconds // HOUR
        return "1 hour ago" if count == 1 else f"{count} hours ago"
    if seconds < MONTH:
        count = seconds // DAY
        return "yesterday" if count == 1 else f"{count} days ago"
    return f"{when.day} {when:%B %Y}"
