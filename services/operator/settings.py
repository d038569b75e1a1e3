"""Settings of the operator: the services' addresses and the signing key."""

import os
from pathlib import Path
from typing import TypeVar

from pydantic import Field, ValidationError

from services.chassis.runtime.setting_types import Seconds
from services.chassis.runtime.settings import Settings, sentences
from services.contracts.services import ServiceAddresses
from services.operator.failures import Failed

CHECKOUT = Path(__file__).parent.parent.parent


class OperatorSettings(Settings, ServiceAddresses):
    operator_signing_key: str = Field(default="", repr=False)
    patience_seconds: Seconds = Field(
        default=120.0, description="how long a service may be unavailable before a command fails"
    )


S = TypeVar("S", bound=OperatorSettings)


def load() -> OperatorSettings:
    """Load the settings from the environment, then from the files of a local stack (`make up`).

    Raises:
        Failed: there is no signing key, or a setting cannot work.
    """
    settings = load_shared()
    if not settings.operator_signing_key:
        raise Failed(
            "OPERATOR_SIGNING_KEY is not set: set it to the operator's private key (`rapport keys` prints a set of "
            "keys for a new installation), or start the local stack with `make up`."
        )
    return settings


def load_shared() -> OperatorSettings:
    """Load the settings for what needs no signing key.

    Raises:
        Failed: a setting cannot work.
    """
    return load_as(OperatorSettings)


def load_as(kind: type[S]) -> S:
    """Load settings of this kind, without a look at the signing key.

    Raises:
        Failed: a setting cannot work.
    """
    files = tuple(file for file in (home() / "keys.env", home() / "operator.env") if os.access(file, os.R_OK))
    try:
        return kind(_env_file=files)
    except ValidationError as error:
        raise Failed(" ".join(sentences(kind, error))) from None


def home() -> Path:
    """Return the folder of the local stack."""
    return Path(os.environ.get("RAPPORT_HOME") or CHECKOUT / ".local").expanduser()
