"""What people reads from the environment beyond the chassis. Its mailer reads `SmtpSettings` too."""

from functools import cached_property, partial
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from services.chassis.identity import private_key
from services.chassis.mail.addresses import parse_address
from services.chassis.mail.sender import MailFrom, Sender
from services.chassis.runtime.setting_types import (
    Count,
    DatabaseUrl,
    DirectUrl,
    Port,
    ReturnUrls,
    Seconds,
    key_of,
)
from services.chassis.runtime.settings import Settings
from services.contracts.colours import Hue


class PeopleSettings(Settings):
    """Settings of people.

    Attributes:
        people_signing_key: signs access tokens; the codes of sign-in mails are derived from it.
        people_other_signing_key: the key before or after it, while it is replaced: codes derived from it count too.
        return_urls: pages of front ends elsewhere, separated by commas, to which a sign-in link may lead back.
        admin_emails: separated by commas; their owners become admins when they confirm.
        mail_from: the address that sign-in mail comes from, with the name of the site.
        site_hue: of the accent of the mails, as the gateway has it; None for the usual one.
        rate_limits: `off` lifts the limit on sign-in mails to one address too, for load tests.
        people_mail_connections: how many SMTP dialogues run at once in one mailer.
        people_poll_seconds: how often a mailer looks for requests. Nothing wakes it, so that the time after a request
            does not tell whether a mail is being sent.
    """

    people_database_url: DatabaseUrl = Field(repr=False)
    people_database_direct_url: DirectUrl = Field(default="", repr=False)
    people_port: Port = 8103
    people_metrics_port: Port = 9103
    people_signing_key: Annotated[str, key_of(partial(private_key, issuer="people"))] = Field(default="", repr=False)
    people_other_signing_key: Annotated[str, key_of(partial(private_key, issuer="people"))] = Field(
        default="", repr=False
    )
    admin_emails: str = ""
    return_urls: ReturnUrls = ""
    mail_from: MailFrom = "Rapport <notifications@localhost>"
    site_hue: Hue = None
    rate_limits: Literal["on", "off"] = "on"
    people_mail_connections: Count = 4
    people_poll_seconds: Seconds = 0.5

    @field_validator("admin_emails")
    @classmethod
    def _are_addresses(cls, value: str) -> str:
        _look_ups(value)
        return value

    @model_validator(mode="after")
    def _links_are_safe(self) -> Self:
        return self.with_safe_links()

    @cached_property
    def sender(self) -> Sender:
        """The sender of sign-in mails."""
        return Sender.parse(self.mail_from, self.site_hue)

    @cached_property
    def admins(self) -> frozenset[str]:
        """The admins' addresses as they are looked up."""
        return _look_ups(self.admin_emails)

    @cached_property
    def return_addresses(self) -> frozenset[str]:
        """The pages of front ends elsewhere."""
        return frozenset(filter(None, self.return_urls.split(",")))


def _look_ups(text: str) -> frozenset[str]:
    """Parse addresses that commas separate.

    Raises:
        ValueError: one is not an address; the message does not repeat it.
    """
    return frozenset(parse_address(one.strip()).lookup for one in text.split(",") if one.strip())
