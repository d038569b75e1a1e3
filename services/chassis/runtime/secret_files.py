"""Secrets from files: `NAME_FILE=/run/secrets/name` instead of `NAME=…`, for every setting that is not shown.

An environment can be read by whoever may look at the process, and is handed on to its children; a file is neither.
"""

import os
from dataclasses import dataclass
from typing import Any

from pydantic import field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from services.chassis.runtime.secret_reading import SUFFIX, Unreadable, read_secret


@dataclass(frozen=True)
class Refused:
    """Stands for a value that could not be read, until it is validated; see `FromEnvironment`."""

    reason: str


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
