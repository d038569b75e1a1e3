"""Times that clients send."""

import re
from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, BeforeValidator, WithJsonSchema

RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)


def _parsed(value: object) -> object:
    """Return the moment that a text names; a number, whose unit nobody could know, is none."""
    if isinstance(value, datetime):
        return value
    if isinstance(value, str) and RFC_3339.fullmatch(text := value.strip().upper()):
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            pass  # such as the 31st of February
    raise ValueError("must be a time with its zone, such as 2027-01-31T09:00:00Z")


Time = Annotated[AwareDatetime, BeforeValidator(_parsed), WithJsonSchema({"type": "string", "format": "date-time"})]
