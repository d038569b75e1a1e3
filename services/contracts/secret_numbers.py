"""Numbers of secrets that replace each other, in front of them: `2.<secret>`; one without a number is the first."""

import re

_NUMBERED = re.compile(r"([1-9][0-9]{0,8})\.")


def number_of(secret: str) -> int:
    """Return the number of a secret, which is higher the later it was made."""
    found = _NUMBERED.match(secret)
    return int(found[1]) if found else 1


def numbered(secret: str, number: int) -> str:
    """Return a secret with its number."""
    return f"{number}.{secret}"
