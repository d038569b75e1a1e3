"""Rules and values of people: addresses, roles, names, secrets, and when a refresh token may be used. No I/O."""

import hashlib
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

import email_validator

from services.contracts.people import ROLES

LINK_LIFE = timedelta(minutes=10)
LIVE_LINKS_PER_ADDRESS = 5
SESSION_LIFE = timedelta(days=30)
ACCESS_LIFE = timedelta(minutes=15)
LOST_ANSWER_WINDOW = timedelta(seconds=60)
ERASED_NAME = "deleted"
NAMELESS = "Anonymous"
NAME_LENGTH = 100

# The library refuses names that no public relay knows. A relay of one's own network may know these, so it decides.
for _name in ("local", "localhost", "test"):
    if _name in email_validator.SPECIAL_USE_DOMAIN_NAMES:
        email_validator.SPECIAL_USE_DOMAIN_NAMES.remove(_name)


@dataclass(frozen=True)
class Address:
    """An e-mail address.

    Attributes:
        typed: as its owner wrote it.
        lookup: what makes two spellings the same address: lower case, the domain in its ASCII form.
    """

    typed: str
    lookup: str

    @property
    def mailbox(self) -> str:
        """What SMTP is given: the local part as typed, the domain in ASCII."""
        return f"{self.typed.rpartition('@')[0]}@{self.lookup.rpartition('@')[2]}"


def parse_address(text: str) -> Address:
    """The address in `text`, nothing but one address.

    The local part must be ASCII, because not every relay on the way speaks SMTPUTF8 (RFC 6531), and must not look like
    an encoded word (RFC 2047), because a mail program would show somebody else's address.

    Raises:
        ValueError: it is not an address; the text says why without repeating it.
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


@dataclass(frozen=True)
class Person:
    """One row of `people` with its address, if it has one. `name` is what the row holds; see `shown_name`."""

    id: UUID
    name: str | None
    roles: tuple[str, ...]
    version: int
    imported: bool
    created_at: datetime
    address: str | None = None

    @property
    def shown_name(self) -> str:
        """The name as everybody sees it."""
        return ERASED_NAME if self.name is None else self.name


def with_role(roles: Iterable[str], role: str) -> tuple[str, ...]:
    """The roles and one more, each once, in the order of `ROLES`."""
    held = {*roles, role}
    return tuple(known for known in ROLES if known in held)


def confirmed_roles(roles: Iterable[str], lookup: str, admins: Iterable[str]) -> tuple[str, ...]:
    """The roles of somebody who has just proved to own the address `lookup`."""
    held = with_role(roles, "reader")
    return with_role(held, "admin") if lookup in admins else held


def imported_name(name: str) -> str:
    """A name from elsewhere as it can be shown: never empty, at most as long as any other."""
    return name[:NAME_LENGTH].strip() or NAMELESS


def import_identity(site: str, source_user_id: str | None, address: str | None, name: str) -> bytes:
    """What makes two imported authors the same: (site, user id), else (site, address, name).

    An address alone never does: on many sites several people share one. SHA-256, because the parts are of any length.
    """
    parts = ["user", site, source_user_id] if source_user_id else ["typed", site, (address or "").casefold(), name]
    return hashlib.sha256(json.dumps(parts).encode()).digest()


def new_secret() -> str:
    """256 random bits for a link, a refresh token or a cookie, safe in a URL."""
    return secrets.token_urlsafe(32)


def fingerprint(secret: str) -> bytes:
    """What is stored of a secret. It has 256 random bits, so a plain SHA-256 cannot be guessed back."""
    return hashlib.sha256(secret.encode()).digest()


@dataclass(frozen=True)
class Presented:
    """A refresh token as the database knows it when somebody presents it; the times are the database's.

    Attributes:
        used_with: fingerprint of the idempotency key it was used with.
        successor_unused: the token that replaced it has not been used itself.
        session_open: the family has neither ended nor expired.
    """

    now: datetime
    expires_at: datetime
    used_at: datetime | None
    used_with: bytes | None
    voided: bool
    successor_unused: bool
    session_open: bool


Verdict = Literal["rotate", "replace-lost", "refuse", "end-family"]


def judge(token: Presented, key: bytes | None) -> Verdict:
    """What presenting this token with this idempotency key (its fingerprint) leads to.

    A second use means that two parties hold the token, so the family ends. The exception is an answer that was lost:
    the same key within 60 s, while nobody has used what the lost answer held.
    """
    if not token.session_open or token.voided:
        return "refuse"
    if token.used_at is not None:
        repeated = key is not None and key == token.used_with
        in_time = token.now - token.used_at <= LOST_ANSWER_WINDOW
        return "replace-lost" if repeated and in_time and token.successor_unused else "end-family"
    return "rotate" if token.now < token.expires_at else "refuse"
