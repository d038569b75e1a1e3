"""Secrets from files: `NAME_FILE=/run/secrets/name` instead of `NAME=…`, for every setting that is not shown.

An environment can be read by whoever may look at the process, and is handed on to its children; a file is neither.
"""

import os
import stat
from dataclasses import dataclass
from typing import Any

from pydantic import field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

LARGEST_BYTES = 64 * 1024
SUFFIX = "_FILE"


class Unreadable(Exception):
    """The file gives no secret. The message is the predicate of a sentence about the setting; it shows no path."""


@dataclass(frozen=True)
class Refused:
    """Stands for a value that could not be read, until it is validated; see `FromEnvironment`."""

    reason: str


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


def secret_fields(kind: type[BaseSettings]) -> list[str]:
    """Return the settings whose values are never shown."""
    return [name for name, field in kind.model_fields.items() if not field.repr]


class SecretFiles(PydanticBaseSettingsSource):
    """Reads secrets from files; comes before the environment, where a variable may be set to nothing."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        variable = field_name.upper()
        file = os.environ.get(variable + SUFFIX)
        if field.repr or not file:
            return None, field_name, False
        if os.environ.get(variable):
            return Refused(f"is set, and so is {variable}{SUFFIX}: set one of the two"), field_name, False
        try:
            return read_secret(variable, file), field_name, False
        except Unreadable as error:
            return Refused(str(error)), field_name, False

    def __call__(self) -> dict[str, Any]:
        found = ((name, self.get_field_value(field, name)[0]) for name, field in self.settings_cls.model_fields.items())
        return {name: value for name, value in found if value is not None}


class FromEnvironment(BaseSettings):
    """Settings that are read from the environment, secrets also from the files that it names."""

    @field_validator("*", mode="before")
    @classmethod
    def _is_readable(cls, value: Any) -> Any:
        if isinstance(value, Refused):
            raise ValueError(value.reason)
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return where values come from, the strongest first."""
        return init_settings, SecretFiles(settings_cls), env_settings, dotenv_settings


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
