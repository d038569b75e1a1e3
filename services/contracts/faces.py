"""The faces of people and the marks of sites that have no picture: a letter, and tones that an id gives."""

from functools import cache

from services.contracts.colours import srgb

TONES = 12  # `.tone-0` and so on in rapport.css


def tone(person_id: str) -> int:
    """Return the number of the two tones of a face. The end of an id is random; its beginning is a time."""
    return int(person_id[-6:], 16) % TONES


def ground(person_id: str) -> str:
    """Return the ground of a face where only one tone can be shown; dark letters can be read on it."""
    return _ground_of(tone(person_id))


@cache
def _ground_of(tone: int) -> str:
    return srgb(0.92, 0.05, 360 / TONES * tone)


def letter(name: str | None) -> str:
    """Return the letter on a face: the first that a name has."""
    return next((one for one in name or "" if one.isalnum()), "·").upper()[:1]
