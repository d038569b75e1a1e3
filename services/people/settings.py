"""What people reads from the environment beyond the chassis. Its mailer reads `SmtpSettings` too."""

from functools import cached_property
from typing import Literal

from pydantic import Field

from services.chassis.runtime.settings import Settings
from services.people.domain import parse_address


class PeopleSettings(Settings):
    """Settings of people.

    Attributes:
        people_signing_key: signs access tokens.
        admin_emails: separated by commas; their owners become admins when they confirm.
        mail_from: the address that sign-in mail comes from, with the name of the site.
        rate_limits: `off` lifts the limit on sign-in mails to one address too, for load tests.
        people_mail_connections: how many SMTP dialogues run at once in one mailer.
        people_poll_seconds: how often a mailer looks for requests. Nothing wakes it, so that the time after a request
            does not tell whether a mail is being sent.
    """

    people_database_url: str = Field(default="postgresql://people@127.0.0.1:5432/people", repr=False)
    people_port: int = 8103
    people_metrics_port: int = 9103
    people_signing_key: str = Field(default="", repr=False)
    admin_emails: str = ""
    mail_from: str = "Rapport <notifications@localhost>"
    rate_limits: Literal["on", "off"] = "on"
    people_mail_connections: int = 4
    people_poll_seconds: float = 0.5

    @cached_property
    def admins(self) -> frozenset[str]:
        """The admins' addresses as they are looked up.

        Raises:
            ValueError: one is not an address.
        """
        return frozenset(parse_address(text.strip()).lookup for text in self.admin_emails.split(",") if text.strip())
