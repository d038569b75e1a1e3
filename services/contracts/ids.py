"""Ids as clients spell them: the form of RFC 9562, section 4, in any case of letters. Other spellings are no ids.

`uuid.UUID` also takes braces, `urn:uuid:` and digits without hyphens. The last may be a slug, so none of them is taken.
"""

import re
from typing import Annotated
from uuid import UUID

from pydantic import BeforeValidator

UUID_FORM = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)


def is_id(text: str) -> bool:
    """Return whether a text has the form of an id."""
    return UUID_FORM.fullmatch(text) is not None


def canonical(text: str) -> str:
    """Return the id in lower case.

    Raises:
        ValueError: the text does not have the form of an id.
    """
    if not is_id(text):
        raise ValueError("must be an id, such as 01936f6e-0000-7000-8000-000000000001")
    return text.lower()


def id_or_none(text: str | None) -> str | None:
    """Return the id in lower case; None for what has not the form of one."""
    return text.lower() if text is not None and is_id(text) else None


def _canonical_text(value: object) -> object:
    return canonical(value) if isinstance(value, str) else value


Id = Annotated[UUID, BeforeValidator(_canonical_text)]
