"""Settings of notify, beyond those of every service. Its mailer reads `SmtpSettings` too."""

from typing import Self

from pydantic import Field, model_validator

from services.chassis.runtime.settings import Settings
from services.contracts.services import ServiceAddresses


class NotifySettings(Settings, ServiceAddresses):
    """Settings of notify.

    Attributes:
        notify_secret: the key of unsubscribe tokens and message ids; a new one makes all earlier links invalid.
        notify_settle_seconds: how long a notification waits before its mail, for edits and removals in that time.
        mail_from: the address all notifications come from, with the name of the site; message ids end in its domain.
        notify_mail_connections: how many SMTP dialogues run at once in one mailer.
        notify_poll_seconds: how often a mailer looks for due rows when nothing wakes it.
        notify_retry_seconds: how long a mail waits after its first attempt; later waits grow.
        notify_give_up_days: how long a mail that servers refuse for now is tried.
    """

    notify_database_url: str = "postgresql://notify@127.0.0.1:5432/notify"
    notify_port: int = 8104
    notify_metrics_port: int = 9104
    notify_secret: str = Field(default="", repr=False)
    notify_signing_key: str = Field(default="", repr=False)
    notify_settle_seconds: float = 10.0
    notify_mail_connections: int = 4
    notify_poll_seconds: float = 0.25
    notify_retry_seconds: float = 30.0
    notify_give_up_days: float = 4.0
    mail_from: str = "Rapport <notifications@localhost>"

    # of the outbox relay: the events of notify are not urgent, so one batch may hold more of them
    relay_pace_seconds: float = 0.1

    @model_validator(mode="after")
    def _links_are_safe(self) -> Self:
        if self.environment == "production" and not self.public_url.startswith("https://"):
            raise ValueError("PUBLIC_URL must be https in production: mails carry links that act")
        return self
