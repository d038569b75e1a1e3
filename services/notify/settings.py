"""Settings of notify, beyond those of every service. Its mailer reads `SmtpSettings` too."""

import json
from functools import cached_property, partial
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from services.chassis.identity import private_key
from services.chassis.mail.sender import MailFrom, Sender
from services.chassis.runtime.setting_types import Count, DatabaseUrl, DirectUrl, Pause, Port, Seconds, key_of
from services.chassis.runtime.settings import Settings
from services.contracts.colours import Hue
from services.contracts.services import ServiceAddresses

SHORTEST_SECRET = 32


class NotifySettings(Settings, ServiceAddresses):
    """Settings of notify.

    Attributes:
        notify_secret: the key of unsubscribe tokens and message ids.
        notify_other_secrets: a JSON list of earlier secrets, the youngest first, whose unsubscribe links work too.
        notify_settle_seconds: how long a notification waits before its mail, for edits and removals in that time.
        mail_from: the address all notifications come from, with the name of the site; message ids end in its domain.
        site_hue: of the accent of the mails, as the gateway has it; None for the usual one.
        notify_mail_connections: how many SMTP dialogues run at once in one mailer.
        notify_poll_seconds: how often a mailer looks for due rows when nothing wakes it.
        notify_retry_seconds: how long a mail waits after its first attempt; later waits grow.
        notify_give_up_days: how long a mail that servers refuse for now is tried.
    """

    notify_database_url: DatabaseUrl = Field(repr=False)
    notify_database_direct_url: DirectUrl = Field(default="", repr=False)
    notify_port: Port = 8104
    notify_metrics_port: Port = 9104
    notify_secret: str = Field(default="", repr=False)
    notify_other_secrets: str = Field(default="", repr=False)
    notify_signing_key: Annotated[str, key_of(partial(private_key, issuer="notify"))] = Field(default="", repr=False)
    notify_settle_seconds: Pause = 10.0
    notify_mail_connections: Count = 4
    notify_poll_seconds: Seconds = 0.25
    notify_retry_seconds: Seconds = 30.0
    notify_give_up_days: float = Field(default=4.0, gt=0, le=3650, allow_inf_nan=False)
    mail_from: MailFrom = "Rapport <notifications@localhost>"
    site_hue: Hue = None

    # of the outbox relay: the events of notify are not urgent, so one batch may hold more of them
    relay_pace_seconds: Pause = 0.1

    @cached_property
    def sender(self) -> Sender:
        """The sender of notifications."""
        return Sender.parse(self.mail_from, self.site_hue)

    @model_validator(mode="after")
    def _links_are_safe(self) -> Self:
        return self.with_safe_links()

    @field_validator("notify_secret")
    @classmethod
    def _is_long_enough(cls, value: str) -> str:
        if 0 < len(value) < SHORTEST_SECRET:  # without one, the roles that need it do not start
            raise ValueError(f"is shorter than {SHORTEST_SECRET} characters; `rapport keys` prints one")
        return value

    @field_validator("notify_other_secrets")
    @classmethod
    def _are_long_enough(cls, value: str) -> str:
        parse_other_secrets(value)
        return value

    @cached_property
    def other_secrets(self) -> list[str]:
        """The secrets of `notify_other_secrets`."""
        return parse_other_secrets(self.notify_other_secrets)


def parse_other_secrets(text: str) -> list[str]:
    """Return the secrets of a JSON list; none of an empty text.

    Raises:
        ValueError: it is not a list of long enough secrets; the message does not repeat it.
    """
    try:
        found = json.loads(text or "[]")
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(one, str) and len(one) >= SHORTEST_SECRET for one in found):
        raise ValueError(f"is not a JSON list of secrets, each of at least {SHORTEST_SECRET} characters")
    return found
