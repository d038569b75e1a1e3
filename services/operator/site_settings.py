"""Whose site it is, as `rapport setup` takes it: what may stand in each setting, and the file that holds them."""

import os
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from services.chassis.mail.addresses import parse_address
from services.contracts.characters import LINE_BREAKS, is_visible
from services.contracts.text import Name
from services.operator.failures import Failed
from services.operator.key_file import KeyFile, opened

LONGEST_NAME = 100  # as the gateway takes it
LONGEST_TAGLINE = 200
FILE = "settings.env"  # of a local stack, below its folder
HEAD = "# Settings of this stack: `rapport setup` writes some, `make up` reads all. The environment goes first.\n"
DOUBLE_QUOTED = frozenset('"$`\\')  # what a shell and compose read in different ways between double quotes


@dataclass(frozen=True)
class SettingFile(KeyFile):
    """A file of settings, whose values are texts of people: they may have an apostrophe."""

    def quoted(self, name: str, value: str) -> str:
        """Return a value in the quotes in which a shell and compose read it alike."""
        if LINE_BREAKS.search(value):
            raise Failed(f"{name} would hold a control character. Nothing was changed.")
        if "'" not in value:
            return f"'{value}'"
        if DOUBLE_QUOTED & set(value):
            raise Failed(
                f"{name} has an apostrophe ' beside one of \" $ ` \\, which readers of the file take differently: "
                "write ’ for the apostrophe. Nothing was changed."
            )
        return f'"{value}"'


@contextmanager
def opened_settings(path: Path, *, make: bool, to_change: bool = True) -> Iterator[SettingFile]:
    """Open the file of settings.

    Args:
        make: an absent file is made, or, if it is only read, taken for an empty one; otherwise it is refused.

    Raises:
        Failed: the file cannot be opened, or is not there.
    """
    if not path.exists():
        if not make:
            raise Failed(f"There is no file {path}: `make .env` makes the one of compose.")
        if not to_change:
            yield SettingFile(path, HEAD, 0.0)
            return
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "a") as file:
                file.write(HEAD)
        except OSError as error:
            raise Failed(f"{path} cannot be written: {error.strerror}.") from None
    with opened(path, to_change=to_change) as found:
        yield SettingFile(found.path, found.text, found.changed_at)


def site_name(text: str) -> str:
    """Return the name of a site as it is stored.

    Raises:
        ValueError: it cannot be one; the message is the predicate of a sentence.
    """
    name = _one_line(text, LONGEST_NAME)
    if not is_visible(name):
        raise ValueError("has nothing that can be seen")
    return name


def tagline(text: str) -> str:
    """Return the line that says what a site is about; it may be empty.

    Raises:
        ValueError: it cannot be one; the message is the predicate of a sentence.
    """
    return _one_line(text, LONGEST_TAGLINE)


def person_name(text: str) -> str:
    """Return the name of a person as people takes it.

    Raises:
        ValueError: it cannot be one; the message is the predicate of a sentence.
    """
    try:
        return TypeAdapter(Name).validate_python(text)
    except ValidationError as error:
        raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None


def email(text: str) -> str:
    """Return an e-mail address as people takes it.

    Raises:
        ValueError: it is none; the message is the predicate of a sentence.
    """
    return parse_address(text.strip()).typed


CHECKS: Mapping[str, Callable[[str], str]] = {
    "name": site_name,
    "tagline": tagline,
    "author": person_name,
    "email": email,
}


def _one_line(text: str, longest: int) -> str:
    line = unicodedata.normalize("NFC", text.strip())
    if LINE_BREAKS.search(line):
        raise ValueError("has a line break or a control character")
    if len(line) > longest:
        raise ValueError(f"has {len(line)} characters, and may have {longest}")
    return line


def is_listed(address: str, listed: str) -> bool:
    """Return whether an address stands in a list of addresses such as ADMIN_EMAILS, in any spelling."""
    found = set()
    for each in filter(None, (part.strip() for part in listed.split(","))):
        try:
            found.add(parse_address(each).lookup)
        except ValueError:
            continue
    return parse_address(address).lookup in found
