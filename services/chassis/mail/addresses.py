"""E-mail addresses: as people type them, and as they may stand in an envelope and in a header."""

import re
from dataclasses import dataclass

import email_validator
from email_validator import EmailNotValidError, validate_email

from services.contracts.characters import LINE_BREAKS

# Dot-atoms (RFC 5322, 3.2.3) and host names only. Quoted local parts, comments, routes and address literals are legal
# and refused: parsers disagree about them.
LOCAL_PART = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
DOMAIN = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*"
ADDRESS = re.compile(rf"{LOCAL_PART}@{DOMAIN}\Z")
ADDRESS_LIKE = re.compile(r"\S*(?:@|=40|%40|&#64;|\(at\))\S*", re.IGNORECASE)
LONGEST_ANSWER = 400
LONGEST = 254  # RFC 5321, 4.5.3.1.3, without the angle brackets

# The library refuses top-level names of private networks. A private mail server may know these, so it decides.
for _name in ("local", "localhost", "test"):
    if _name in email_validator.SPECIAL_USE_DOMAIN_NAMES:
        email_validator.SPECIAL_USE_DOMAIN_NAMES.remove(_name)


@dataclass(frozen=True)
class Address:
    """An e-mail address.

    Attributes:
        typed: the owner's spelling.
        lookup: equal for all spellings of one address: lower case, the domain in its ASCII form.
    """

    typed: str
    lookup: str

    @property
    def mailbox(self) -> str:
        """Return the address for SMTP: the local part as typed, the domain in ASCII."""
        return f"{self.typed.rpartition('@')[0]}@{self.lookup.rpartition('@')[2]}"

    @property
    def base(self) -> str:
        """Return what all addresses of one mailbox share: the address without its sub-address (RFC 5233).

        For limits alone: some mail servers keep `name+detail` apart from `name`.
        """
        local, _, domain = self.lookup.rpartition("@")
        return f"{local.partition('+')[0] or local}@{domain}"


def parse_address(text: str) -> Address:
    """Parse a text that is one address and nothing else.

    The local part must be ASCII, because not every mail server supports SMTPUTF8 (RFC 6531), and must not look like an
    encoded word (RFC 2047), because a mail client would show a different address.

    Raises:
        ValueError: it is not an address; the message does not repeat the text.
    """
    try:
        found = email_validator.validate_email(
            text,
            check_deliverability=False,
            globally_deliverable=False,
            allow_smtputf8=False,
            allow_quoted_local=False,
            allow_domain_literal=False,
            allow_display_name=False,
            strict=True,
        )
    except email_validator.EmailNotValidError:
        raise ValueError("must be an e-mail address") from None
    if "=?" in found.local_part or found.ascii_domain is None:
        raise ValueError("must be an e-mail address")
    return Address(found.normalized, f"{found.local_part}@{found.ascii_domain}".lower())


def envelope_address(address: str) -> str:
    """Return the address with its domain in ASCII; only the local part may then hold other characters (SMTPUTF8).

    Raises:
        ValueError: it is not one plain address. The message does not repeat it.
    """
    if len(address) > LONGEST:
        raise ValueError("the address is too long")
    if not address.isascii():
        try:
            valid = validate_email(address, check_deliverability=False, test_environment=True)
        except EmailNotValidError:
            raise ValueError("not an e-mail address") from None
        address = f"{valid.local_part}@{valid.ascii_domain}"
        if any(not character.isprintable() or character.isspace() for character in address):
            raise ValueError("not an e-mail address")
        if not address.isascii():
            return address
    if "=?" in address or not ADDRESS.match(address) or len(address.partition("@")[0]) > 64:
        raise ValueError("not an e-mail address")
    return address


def without_addresses(answer: str, *known: str) -> str:
    """Return one bounded line of a server's answer without any address, neither the known ones nor another."""
    text = LINE_BREAKS.sub(" ", answer.encode("utf-8", "replace").decode())
    text = ADDRESS_LIKE.sub("<address>", text)
    for address in known:
        local = address.partition("@")[0]
        if len(local) > 2 and local.casefold() in text.casefold():  # to compile a pattern for each address is expensive
            text = re.sub(rf"(?<![\w.-]){re.escape(local)}(?![\w-])", "<address>", text, flags=re.IGNORECASE)
    return " ".join(text.split())[:LONGEST_ANSWER]
