"""Say when something happened, in the reader's language: exactly, and as people say it."""

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Literal

from babel.dates import format_date, format_skeleton, format_time, format_timedelta
from markupsafe import Markup, escape

from services.gateway.languages import Language, current, gettext

WORDS_A_MINUTE = 230
MINUTE, HOUR, DAY, MONTH = 60, 3_600, 86_400, 30 * 86_400  # seconds
ALWAYS = 10**9  # a threshold that no unit reaches but the one that is asked for


def moment(text: str | None) -> str:
    """Return a time in words, such as `23 November 2026, 04:35 UTC`."""
    return "" if text is None else _moment(current(), text)


@lru_cache(2_048)  # a discussion is shown again after each comment, with the times of all the others
def _moment(language: Language, text: str) -> str:
    when = datetime.fromisoformat(text)
    return gettext(
        "%(date)s, %(time)s UTC",
        date=_date(language, when.date()),
        time=_time(language, when.time().replace(second=0, microsecond=0)),
    )


def month(text: str) -> str:
    """Return the month of a time, such as `November 2026`."""
    written: str = format_skeleton("yMMMM", datetime.fromisoformat(text), locale=current().locale)
    return written


def reading_minutes(words: int | None) -> int | None:
    """Return how many minutes a text of so many words takes to be read, for one that takes some."""
    return None if not words or words < WORDS_A_MINUTE else round(words / WORDS_A_MINUTE)


def ago(text: str, now: datetime | None = None) -> str:
    """Return how long ago a time is, such as `3 days ago`; after a month its date."""
    when = datetime.fromisoformat(text)
    seconds = int(((now or datetime.now(UTC)) - when).total_seconds())
    if seconds < MINUTE:
        return gettext("just now")
    if seconds < HOUR:
        return _past(current(), "minute", seconds // MINUTE)
    if seconds < DAY:
        return _past(current(), "hour", seconds // HOUR)
    if seconds < 2 * DAY:
        return gettext("yesterday")
    if seconds < MONTH:
        return _past(current(), "day", seconds // DAY)
    return _date(current(), when.date())


def hours_ago(text: str, now: datetime | None = None) -> str:
    """Return how long ago a time is that is known to the hour only, such as `3 hours ago`."""
    seconds = ((now or datetime.now(UTC)) - datetime.fromisoformat(text)).total_seconds()
    return gettext("within the last hour") if seconds < HOUR else ago(text, now)


def time_element(text: str) -> Markup:
    """Return a time as HTML: how long ago it is, and exactly. A page says hundreds, so it is made here."""
    return Markup(f'<time datetime="{escape(text)}" title="{escape(moment(text))}">{escape(ago(text))}</time>')  # noqa: S704


# CLDR's patterns are slow to apply, and a page of a discussion says hundreds of times.
@lru_cache(2_048)
def _date(language: Language, day: date) -> str:
    written: str = format_date(day, "long", locale=language.locale)
    return written


@lru_cache(3 * 1_440)
def _time(language: Language, minute: time) -> str:
    written: str = format_time(minute, "short", locale=language.locale)
    return written


@lru_cache(1_024)
def _past(language: Language, unit: Literal["minute", "hour", "day"], count: int) -> str:
    past = -timedelta(**{f"{unit}s": count})
    written: str = format_timedelta(
        past, granularity=unit, threshold=ALWAYS, add_direction=True, locale=language.locale
    )
    return written
