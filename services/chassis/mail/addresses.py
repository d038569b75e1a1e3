"""E-mail addresses as they may stand in an envelope and in a header."""

import re

from email_validator import EmailNotValidError, validate_email

# Dot-atoms (RFC 5322, 3.2.3) and host names only. Quoted local parts, comments, routes and address literals are legal
# and refused: parsers disagree about them.
LOCAL_PART = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
DOMAIN = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*"
ADDRESS = re.compile(rf"{LOCAL_PART}@{DOMAIN}\Z")
ADDRESS_LIKE = re.compile(r"\S*(?:@|=40|%40|&#64;|\(at\))\S*", re.IGNORECASE)
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
LONGEST_ANSWER = 400
LONGEST = 254  # RFC 5321, 4.5.3.1.3, without the angle brackets


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
    text = CONTROLS.sub(" ", answer.encode("utf-8", "replace").decode())
    text = ADDRESS_LIKE.sub("<address>", text)
    for address in known:
        local = address.partition("@")[0]
        if len(local) > 2 and local.casefold() in text.casefold():  # to compile a pattern for each address is expensive
            text = re.sub(rf"(?<![\w.-]){re.escape(local)}(?![\w-])", "<address>", text, flags=re.IGNORECASE)
    return " ".join(text.split())[:LONGEST_ANSWER]
