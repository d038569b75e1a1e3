"""The sender of mails, as a setting names it."""

from dataclasses import dataclass
from email.utils import getaddresses
from typing import Annotated

from pydantic import AfterValidator

from services.chassis.mail.addresses import envelope_address
from services.chassis.mail.message import header_text
from services.contracts.characters import LINE_BREAKS, is_visible
from services.contracts.colours import HUE

UNNAMED = "Rapport"


@dataclass(frozen=True)
class Sender:
    """The sender of mails.

    Attributes:
        address: in ASCII.
        site: the name of the site, one line that is safe in a header.
        hue: of the site's accent, in degrees of OKLCH.
    """

    address: str
    site: str
    hue: int = HUE

    @property
    def domain(self) -> str:
        """The domain of the address: the right side of message ids."""
        return self.address.rpartition("@")[2]

    @classmethod
    def parse(cls, mail_from: str, hue: int | None = None) -> "Sender":
        """Parse one address, with or without a name before it.

        Raises:
            ValueError: it is not one address, or none that every mail server takes; the message follows "it".
        """
        found = getaddresses([mail_from])
        name, written = found[0] if len(found) == 1 else ("", "")
        try:
            address = envelope_address(written)
        except ValueError:
            address = ""
        if not address.isascii() or not address or written not in mail_from or LINE_BREAKS.search(mail_from):
            raise ValueError(
                "is not one e-mail address: write Name <address@host.example>, a name with a comma in quotes"
            )
        site = header_text(name)
        return cls(address, site if is_visible(site) else UNNAMED, HUE if hue is None else hue)


def _parsed(text: str) -> str:
    Sender.parse(text)
    return text


MailFrom = Annotated[str, AfterValidator(_parsed)]  # the type of the setting
