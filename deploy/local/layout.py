"""Files and ports of the local stack, and the servers that the environment replaces."""

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from deploy.local.processes import LocalError
from services.chassis.runtime.secret_reading import SUFFIX, Unreadable, resolved

CHECKOUT = Path(__file__).parent.parent.parent

DATABASES = ("posts", "comments", "people", "notify")
SERVICES = (*DATABASES, "gateway")
ALL_IN_ONE = "all-in-one"  # the process of PROFILE=small

PROFILES = ("full", "small")

PORTS: Mapping[str, int] = {
    "GATEWAY_PORT": 8000,
    "POSTS_PORT": 8101,
    "COMMENTS_PORT": 8102,
    "PEOPLE_PORT": 8103,
    "NOTIFY_PORT": 8104,
    "GATEWAY_METRICS_PORT": 9100,
    "POSTS_METRICS_PORT": 9101,
    "COMMENTS_METRICS_PORT": 9102,
    "PEOPLE_METRICS_PORT": 9103,
    "NOTIFY_METRICS_PORT": 9104,
    "MAILBOX_PORT": 8025,
    "SMTP_PORT": 2525,
    "POSTGRES_PORT": 54320,
    "VALKEY_PORT": 63790,
    "KAFKA_PORT": 19092,
    "KAFKA_CONTROLLER_PORT": 19093,
}


# each may also be given as `NAME_FILE`, the file that holds it
SECRETS = frozenset(
    {
        "VERIFICATION_KEYS",
        *(f"{issuer}_SIGNING_KEY" for issuer in ("GATEWAY", "PEOPLE", "NOTIFY", "OPERATOR")),
        "PEOPLE_OTHER_SIGNING_KEY",
        "NOTIFY_SECRET",
        "NOTIFY_OTHER_SECRETS",
        *(f"{service.upper()}_DATABASE_{kind}" for service in DATABASES for kind in ("URL", "DIRECT_URL")),
        "KAFKA_PASSWORD",
        "REDIS_URL",
        "SMTP_PASSWORD",
    }
)
SECRET_FILES = tuple(f"{name}{SUFFIX}" for name in sorted(SECRETS))

SETTINGS_FILE = "settings.env"  # below the folder of a stack; `rapport setup` writes it
NOT_SETTINGS = ("RAPPORT_HOME", "PATH", "PYTHONPATH")  # of the process that reads the file

KEPT = (
    "PROFILE",
    "PUBLIC_URL",
    "KAFKA_BOOTSTRAP_SERVERS",
    "KAFKA_PREFIX",
    "SMTP_HOST",
    *(f"{service.upper()}_URL" for service in DATABASES),
)


def parse_lines(text: str) -> dict[str, str]:
    """Parse lines `NAME='value'` as a shell would: what begins with `#` is a comment.

    Raises:
        ValueError: a quotation mark has no end.
    """
    words = (takewhile(lambda word: not word.startswith("#"), shlex.split(line)) for line in text.split("\n"))
    return dict(word.split("=", 1) for line in words for word in line if "=" in word)


def settings_in(home: Path) -> dict[str, str]:
    """Return the settings that are kept with a stack; the environment goes before them.

    Raises:
        LocalError: the file cannot be read.
    """
    file = home / SETTINGS_FILE
    try:
        found = parse_lines(file.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (ValueError, OSError) as error:
        raise LocalError(f"{file} cannot be read ({error}): each line is NAME='value'.") from None
    return {name: value for name, value in found.items() if name not in NOT_SETTINGS}


@dataclass(frozen=True)
class Layout:
    """One local stack.

    Attributes:
        home: the folder of all its files; deleting it resets the stack.
        given: the environment of the process that started it, and the settings in the stack's file below that.
    """

    home: Path
    given: Mapping[str, str]

    @classmethod
    def from_environment(cls) -> "Layout":
        """Return the stack that the environment names.

        Raises:
            LocalError: `RAPPORT_HOME` begins with the home folder of an unknown user, or a file of settings or of a
                secret cannot be read.
        """
        home = os.environ.get("RAPPORT_HOME")
        try:
            folder = Path(home).expanduser().resolve() if home else CHECKOUT / ".local"
        except (RuntimeError, OSError, ValueError) as error:
            raise LocalError(f"RAPPORT_HOME={home} is not a folder ({error}): set it to the path of one.") from None
        try:
            return cls(folder, resolved({**settings_in(folder), **os.environ}, SECRETS))
        except Unreadable as refusal:
            raise LocalError(str(refusal)) from None

    def port(self, variable: str) -> int:
        """Return a port by the variable that sets it.

        Raises:
            LocalError: the variable is not a port number.
        """
        text = self.given.get(variable) or str(PORTS[variable])
        if not (text.isascii() and text.isdecimal() and len(text) < 6 and 0 < int(text) < 65536):
            raise LocalError(f"{variable}={text} is not a port: set a number from 1 to 65535.")
        return int(text)

    def kept(self) -> dict[str, str]:
        """Return the variables without secrets that say where this stack is; empty ones are not set."""
        return {name: self.given.get(name, "") for name in (*PORTS, *KEPT)}

    @property
    def processes(self) -> tuple[str, ...]:
        """Return the processes of the services: one each, or one for all.

        Raises:
            LocalError: `PROFILE` is none of ours.
        """
        profile = self.given.get("PROFILE") or "full"
        if profile not in PROFILES:
            raise LocalError(f"PROFILE={profile} is not known: set {' or '.join(PROFILES)}, or leave it out.")
        return (ALL_IN_ONE,) if profile == "small" else SERVICES

    def database_given(self, service: str) -> str | None:
        """Return the address of a service's database if the environment sets one."""
        return self.given.get(f"{service.upper()}_DATABASE_URL") or None

    @property
    def needs_postgres(self) -> bool:
        return not all(self.database_given(service) for service in DATABASES)

    @property
    def needs_valkey(self) -> bool:
        return not self.given.get("REDIS_URL")

    @property
    def needs_kafka(self) -> bool:
        return not self.given.get("KAFKA_BOOTSTRAP_SERVERS")

    @property
    def needs_mailbox(self) -> bool:
        """Return whether the mailbox is used: `SMTP_HOST` replaces it; `SMTP_PORT` alone is the mailbox's port."""
        return not self.given.get("SMTP_HOST")

    @property
    def has_given_servers(self) -> bool:
        """Return whether the environment names servers that have to answer before anything starts."""
        return not (self.needs_valkey and self.needs_kafka and self.needs_mailbox)

    @property
    def log_folder(self) -> Path:
        return self.home / "log"

    @property
    def public_url(self) -> str:
        return (self.given.get("PUBLIC_URL") or "").rstrip("/") or f"http://127.0.0.1:{self.port('GATEWAY_PORT')}"

    @property
    def mailbox_url(self) -> str:
        return f"http://127.0.0.1:{self.port('MAILBOX_PORT')}"

    @property
    def bootstrap(self) -> str:
        return self.given.get("KAFKA_BOOTSTRAP_SERVERS") or f"127.0.0.1:{self.port('KAFKA_PORT')}"

    def ports_needed(self) -> dict[str, int]:
        """Return every port that this stack listens on, by the variable that sets it.

        Raises:
            LocalError: some are not port numbers, or the same as others; one line for each.
        """
        unused = {
            *(() if self.needs_postgres else ("POSTGRES_PORT",)),
            *(() if self.needs_valkey else ("VALKEY_PORT",)),
            *(() if self.needs_kafka else ("KAFKA_PORT", "KAFKA_CONTROLLER_PORT")),
            *(() if self.needs_mailbox else ("SMTP_PORT", "MAILBOX_PORT")),
        }
        ports: dict[str, int] = {}
        refused: list[str] = []
        for variable in sorted(PORTS.keys() - unused):
            try:
                ports[variable] = self.port(variable)
            except LocalError as error:
                refused.append(str(error))
        for variable, port in ports.items():
            twin = next((other for other, taken in ports.items() if taken == port and other > variable), None)
            if twin:
                refused.append(f"{variable} and {twin} are both {port}: set one of them to another port.")
        if refused:
            raise LocalError("\n".join(refused))
        return ports

    def with_sound_ports(self) -> "Layout":
        """Return the layout with the default of each port that is not one, to check what else is given."""
        given = dict(self.given)
        for variable in PORTS:
            try:
                self.port(variable)
            except LocalError:
                del given[variable]
        return Layout(self.home, given)
