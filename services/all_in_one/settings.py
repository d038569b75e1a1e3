"""The settings of all services, read from one environment."""

import os
import sys
from collections import Counter
from dataclasses import dataclass
from typing import Self, TypeVar

from services.chassis.errors import CannotStart
from services.chassis.runtime.secret_reading import Unreadable, resolved
from services.chassis.runtime.settings import Settings, load
from services.comments.settings import CommentsSettings
from services.gateway.settings import GatewaySettings
from services.notify.settings import NotifySettings
from services.people.settings import PeopleSettings
from services.posts.settings import PostsSettings

S = TypeVar("S", bound=Settings)

OWNERS = ("posts", "comments", "people", "notify")
LOCAL = {f"{name}_url": f"http://{name}" for name in OWNERS}  # where `LocalCalls` has them


@dataclass(frozen=True)
class Everything:
    """The settings of each service.

    Each has its own account at the broker, in `POSTS_KAFKA_USERNAME`, `POSTS_KAFKA_PASSWORD` and so on; without them
    all have that of `KAFKA_USERNAME`. `POSTS_URL` and so on are not used.
    """

    posts: PostsSettings
    comments: CommentsSettings
    people: PeopleSettings
    notify: NotifySettings
    gateway: GatewaySettings

    @classmethod
    def load(cls) -> Self:
        """Read the settings; print a sentence for each that cannot work, and exit with status 2."""
        try:
            return cls(
                posts=_load("posts", PostsSettings),
                comments=_load("comments", CommentsSettings),
                people=_load("people", PeopleSettings),
                notify=_load("notify", NotifySettings).model_copy(update=LOCAL),
                gateway=_load("gateway", GatewaySettings).model_copy(update=LOCAL),
            )
        except Unreadable as refusal:
            sys.stderr.write(f"{refusal}\n")
            sys.exit(2)

    def check_ports(self) -> None:
        """Check that no two listen at one port, as they do in the image, where each has a machine of its own.

        Raises:
            CannotStart: some do; a sentence names them.
        """
        fields = [f"{name}_{kind}" for name in (*OWNERS, "gateway") for kind in ("port", "metrics_port")]
        ports = {field: int(getattr(getattr(self, field.partition("_")[0]), field)) for field in fields}
        for port, count in Counter(ports.values()).items():
            if count > 1:
                named = ", ".join(field.upper() for field, each in ports.items() if each == port)
                raise CannotStart(f"{named} are all {port}: in one process each needs a port of its own.")


def _load(service: str, kind: type[S]) -> S:
    """Read the settings of a service, with its own account at the broker."""
    prefix = f"{service.upper()}_KAFKA_"
    given = resolved(dict(os.environ), frozenset({f"{prefix}PASSWORD"}))
    account = {
        name: given[prefix + name.upper()] for name in ("username", "password") if given.get(prefix + name.upper())
    }
    return load(kind, **{f"kafka_{name}": value for name, value in account.items()})
