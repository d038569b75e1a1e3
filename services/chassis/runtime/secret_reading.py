"""Read secrets from files that the environment names, without the libraries of settings: `make up` needs it first."""

import os
import stat

LARGEST_BYTES = 64 * 1024
SUFFIX = "_FILE"


class Unreadable(Exception):
    """The file gives no secret. The message is the predicate of a sentence about the setting; it shows no path."""


def read_secret(variable: str, file: str) -> str:
    """Return what a file contains, without the line break at its end.

    Args:
        variable: the name of the setting, without the suffix.

    Raises:
        Unreadable: it cannot be read, is no regular file, empty, too large or no text. What was given as the name of a
            file is not repeated: it may be the secret itself.
    """
    where = f"is read from the file in {variable}{SUFFIX}, which"
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would wait for its writer
        with os.fdopen(descriptor, "rb") as opened:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Unreadable(f"{where} is not a regular file")
            content = opened.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise Unreadable(f"{where} cannot be read: {error.strerror or type(error).__name__}") from None
    if len(content) > LARGEST_BYTES:
        raise Unreadable(f"{where} has more than {LARGEST_BYTES // 1024} KiB")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise Unreadable(f"{where} is not text in UTF-8") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if "\0" in text:
        raise Unreadable(f"{where} is not text in UTF-8")
    if not text.strip():
        raise Unreadable(f"{where} is empty")
    return text


def resolved(environment: dict[str, str], secrets: frozenset[str]) -> dict[str, str]:
    """Return an environment in which secrets stand themselves instead of the names of their files.

    Raises:
        Unreadable: the sentence about the first that cannot be read, or is given twice.
    """
    found = dict(environment)
    for variable in sorted(secrets):
        file = found.pop(variable + SUFFIX, "")
        if not file:
            continue
        if found.get(variable):
            raise Unreadable(f"{variable} and {variable}{SUFFIX} are both set: set one of the two.")
        try:
            found[variable] = read_secret(variable, file)
        except Unreadable as error:
            raise Unreadable(f"{variable} cannot be used: it {error}.") from None
    return found
