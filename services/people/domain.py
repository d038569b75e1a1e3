"""Rules and values of people: addresses, roles, names, secrets and refresh tokens. No I/O."""

import base64
import hashlib
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from services.chassis.mail.addresses import Address
from services.contracts.characters import is_visible
from services.contracts.people import ROLES
from services.contracts.shortening import beginning

LIVE_LINKS_PER_ADDRESS = 5  # the limit of sign-in mails; the gateway limits the requests for them
SECOND_PRESS_WINDOW = timedelta(seconds=10)  # in which a browser gets what its first press of a button got
WRONG_CODES_PER_REQUEST = 5
WRONG_CODES_PER_ADDRESS = 10  # within `WRONG_CODES_WINDOW`; then codes end for as long
WRONG_CODES_WINDOW = timedelta(hours=1)
HAND_OVER_LIFE = timedelta(seconds=60)
UNCONFIRMED_MAILS = 5  # an hour, to the unconfirmed addresses of one mailbox together: anybody can ask for them
SESSION_LIFE = timedelta(days=30)
FAMILY_LIFE = timedelta(days=90)  # of a session, however often it is refreshed
LOST_ANSWER_WINDOW = timedelta(seconds=60)
ERASED_NAME = "deleted"
NAMELESS = "Anonymous"
NAME_LENGTH = 100


@dataclass(frozen=True)
class FrontEnd:
    """A front end elsewhere that asked for a sign-in.

    Attributes:
        return_to: the page that the link leads back to.
        challenge: of its verifier (RFC 7636, S256).
    """

    return_to: str
    challenge: str


@dataclass(frozen=True)
class Asked:
    """What was asked for with a sign-in mail.

    Attributes:
        name: the name offered with a registration; None for a plain sign-in.
        front_end: where the link leads back to, if a front end elsewhere asked.
        form: names the form that asked, if a page of ours did; a second press sends the same.
        requester: who asks; requesters have their turns one by one.
    """

    address: Address
    name: str | None = None
    front_end: FrontEnd | None = None
    form: str | None = None
    requester: str = ""

    @property
    def form_sha256(self) -> bytes | None:
        """Return the fingerprint of the form and of what was typed into it."""
        return None if self.form is None else fingerprint("\0".join((self.form, self.address.lookup, self.name or "")))


@dataclass(frozen=True)
class Link:
    """A link, by the hash of its token.

    Attributes:
        asked: what its request asked for; None once that was deleted.
        live: it was neither used nor has it expired.
    """

    token_sha256: bytes
    asked: Asked | None
    live: bool


@dataclass(frozen=True)
class Browser:
    """A browser that signs in with the cookie of our own pages.

    Attributes:
        nonce: what the page with the button gave it.
        replaces: the cookie that it has.
    """

    nonce: str | None = None
    replaces: str | None = None


@dataclass(frozen=True)
class HandedOver:
    """A sign-in that a front end elsewhere fetches at the address to which the browser goes, by a code."""

    return_to: str
    code: str


def challenge_of(verifier: str) -> str:
    """Return the challenge of a verifier (RFC 7636, section 4.2, S256)."""
    return base64.urlsafe_b64encode(fingerprint(verifier)).rstrip(b"=").decode()


@dataclass(frozen=True)
class Person:
    """One row of `people` with its address, if it has one. `name` is the stored name; see `shown_name`.

    Attributes:
        picture: the digest of their picture, if they have one.
        about: what they say of themselves.
    """

    id: UUID
    name: str | None
    roles: tuple[str, ...]
    version: int
    imported: bool
    created_at: datetime
    address: str | None = None
    picture: str | None = None
    about: str | None = None

    @property
    def shown_name(self) -> str:
        """Return the public name."""
        return ERASED_NAME if self.name is None else self.name

    @property
    def is_erased(self) -> bool:
        """Return whether they were erased: everybody else has a name."""
        return self.name is None


def with_role(roles: Iterable[str], role: str) -> tuple[str, ...]:
    """Return the roles and one more, each once, in the order of `ROLES`."""
    held = {*roles, role}
    return tuple(known for known in ROLES if known in held)


def granted(roles: Iterable[str], role: str) -> tuple[str, ...]:
    """Return the roles after a grant. Everybody is a reader, so granting that means to be no more than it."""
    return ("reader",) if role == "reader" else with_role(roles, role)


def without_role(roles: Iterable[str], role: str) -> tuple[str, ...]:
    """Return the roles without one, in the order of `ROLES`.

    Raises:
        ValueError: the role is `reader`, which everybody has.
    """
    if role == "reader":
        raise ValueError("must not be reader: everybody is one")
    held = {*roles} - {role}
    return tuple(known for known in ROLES if known in held)


def confirmed_roles(roles: Iterable[str], lookup: str, admins: Iterable[str]) -> tuple[str, ...]:
    """Return the roles of a person who has just confirmed the address `lookup`."""
    held = with_role(roles, "reader")
    return with_role(held, "admin") if lookup in admins else held


def imported_name(name: str) -> str:
    """Return an imported name that can be shown: never empty, at most as long as any other."""
    shown = beginning(name, NAME_LENGTH).strip()
    return shown if is_visible(shown) else NAMELESS


def import_identity(site: str, source_user_id: str | None, address: str | None, name: str) -> bytes:
    """Return the identity of an imported author: a digest of (site, user id), else of (site, address, name).

    The address alone is no identity: on many sites people share one. SHA-256, because the parts have any length.
    """
    parts = ["user", site, source_user_id] if source_user_id else ["typed", site, (address or "").casefold(), name]
    return hashlib.sha256(json.dumps(parts).encode()).digest()


def new_secret() -> str:
    """Return 256 random bits, safe in a URL, for a link, a refresh token or a cookie."""
    return secrets.token_urlsafe(32)


def new_public_id() -> str:
    """Return 128 random bits by which the one who asked for a sign-in mail names that request."""
    return secrets.token_urlsafe(16)


def fingerprint(secret: str) -> bytes:
    """Return the stored form of a secret. It has 256 random bits, so a plain SHA-256 cannot be reversed."""
    return hashlib.sha256(secret.encode()).digest()


@dataclass(frozen=True)
class Presented:
    """A presented refresh token as the database knows it; the times are the database's.

    Attributes:
        used_with: fingerprint of the idempotency key it was used with.
        successor_unused: the token that replaced it is unused.
        session_open: the session has neither ended nor expired.
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
    """Decide what happens to a presented token with this idempotency key (its fingerprint).

    A second use means that two parties hold the token, so the session ends. The exception is a lost answer: the same
    key within 60 s, while the successor is unused.
    """
    if not token.session_open or token.voided:
        return "refuse"
    if token.used_at is not None:
        repeated = key is not None and key == token.used_with
        in_time = token.now - token.used_at <= LOST_ANSWER_WINDOW
        return "replace-lost" if repeated and in_time and token.successor_unused else "end-family"
    return "rotate" if token.now < token.expires_at else "refuse"
