"""Events and commands of the people service. Events never contain a name or an address."""

import re
from collections.abc import Collection
from datetime import timedelta
from typing import Annotated, ClassVar, Literal, get_args
from uuid import UUID

from pydantic import AfterValidator, Field, StrictBool, StrictStr, WithJsonSchema

from services.contracts.event import Event, Moment, published
from services.contracts.text import (
    About,
    Body,
    EmailText,
    ImportedText,
    ImportedTitle,
    LeftOut,
    Name,
    Opaque,
    left_out,
)
from services.contracts.topics import PEOPLE, Topic

ACCESS_TOKEN_LIFE = timedelta(minutes=15)  # people makes them, gateways accept none that lives longer
LINK_LIFE = timedelta(minutes=10)
LINK_LIFE_WORDS = "ten minutes"
SIGN_IN_PERIOD = 2 * LINK_LIFE  # from asking to the end of the link: its mail may go out as late as a link lives
BITS_256 = re.compile(r"[A-Za-z0-9_-]{43}")  # in base64url (RFC 4648): a link, a session, a nonce, a challenge

Role = Literal["reader", "author", "moderator", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)


def is_admin(roles: Collection[str]) -> bool:
    """Return whether these roles allow administration; an admin may do everything an author or moderator may."""
    return "admin" in roles


def is_author(roles: Collection[str]) -> bool:
    """Return whether these roles allow writing posts."""
    return "author" in roles or "admin" in roles


def is_moderator(roles: Collection[str]) -> bool:
    """Return whether these roles allow moderation."""
    return "moderator" in roles or "admin" in roles


class PersonFact(Event):
    """The state of one person after the change that the type names. `roles` are open values: ignore unknown ones."""

    topic: ClassVar[Topic] = PEOPLE

    person_id: UUID = Field(description="The person; also the subject and the record key.")
    roles: tuple[str, ...] = Field(description="What the person may do after the change.")
    version: int = Field(description="Grows by one with every change of the person.")
    occurred_at: Moment = Field(description="When the change was made.")
    imported: bool = Field(default=False, description="Whether the person came from another system, without sign-in.")

    @property
    def subject(self) -> UUID:
        return self.person_id

    @property
    def key(self) -> UUID:
        return self.person_id


@published
class PersonConfirmed(PersonFact):
    """A person confirmed an address by its link for the first time."""

    type: ClassVar[str] = "dev.rapport.people.confirmed.v1"


@published
class PersonRenamed(PersonFact):
    """A person changed how they are shown: their name, their picture or what they say of themselves."""

    type: ClassVar[str] = "dev.rapport.people.renamed.v1"

    has_picture: bool | None = Field(default=None, description="Whether they have a picture; null if it is not said.")
    has_about: bool | None = Field(
        default=None, description="Whether they say something of themselves; null if it is not said."
    )


@published
class PersonRolesChanged(PersonFact):
    """The roles of a person were changed."""

    type: ClassVar[str] = "dev.rapport.people.roles-changed.v1"


@published
class PersonErased(PersonFact):
    """A person was erased at their own request; sign-in has ended and no mail is sent to them any more."""

    type: ClassVar[str] = "dev.rapport.people.erased.v1"


@published
class PersonImported(PersonFact):
    """A person was imported as the author of imported content."""

    type: ClassVar[str] = "dev.rapport.people.imported.v1"


@published
class PersonStated(PersonFact):
    """The present state of a person was published to rebuild read models."""

    type: ClassVar[str] = "dev.rapport.people.stated.v1"

    erased: bool | None = Field(default=None, description="Whether they were erased; null if it is not said.")


def _s256(text: str) -> str:
    if not BITS_256.fullmatch(text):
        raise ValueError("must be the SHA-256 of a verifier in base64url, 43 characters (RFC 7636, S256)")
    return text


Challenge = Annotated[
    StrictStr, AfterValidator(_s256), WithJsonSchema({"type": "string", "pattern": f"^{BITS_256.pattern}$"})
]
ReturnTo = Annotated[StrictStr, Field(min_length=1, max_length=2_000)]


USER_AGENT = "Rapport-User-Agent"  # of internal calls that begin a session: how the client calls itself
LONGEST_USER_AGENT = 300
REQUESTER = "Rapport-Requester"  # of internal calls that ask for a mail: a pseudonym of the network they come from


class _MailRequest(Body):
    email: EmailText = Field(description="Where to send the mail; signing in, an unknown address gets none.")
    return_to: ReturnTo | None = Field(
        default=None, description="The page of a front end elsewhere that the link leads back to: one of `RETURN_URLS`."
    )
    challenge: Challenge | None = Field(
        default=None, description="The SHA-256 of that front end's verifier (RFC 7636, S256); needed by `return_to`."
    )


class Register(_MailRequest):
    """Command: register, by sending a confirmation link that signs in."""

    name: Name = Field(description="The name that others see. A confirmed address keeps the name it has.")


class SignIn(_MailRequest):
    """Command: send a sign-in link to a known address."""


class _StartSession(Body):
    """A way to start a session.

    Attributes:
        cookie: answer with an opaque session id instead of a pair of tokens.
        nonce: of the browser that the session is for; it may repeat the command within 10 seconds.
        replaces: the cookie that the browser had; its session ends.
    """

    cookie: StrictBool = False
    nonce: Opaque | None = None
    replaces: Opaque | None = None


class StartSession(_StartSession):
    """Command: start a session by using a link."""

    token: Opaque


class StartSessionByCode(_StartSession):
    """Command: start a session by the code in the mail that a request caused."""

    request: Opaque
    code: Opaque


class FetchSession(Body):
    """Command: start a session by the code that a front end elsewhere was handed, and the verifier it chose."""

    code: Opaque
    verifier: Opaque


class LinkReference(Body):
    """Query: find out where a link leads."""

    token: Opaque


class RefreshSession(Body):
    """Command: exchange a refresh token for a new pair."""

    refresh_token: Opaque = Field(description="The latest refresh token of the session. It works once.")


class SessionReference(Body):
    """Reference to a session: the `sid` of an access token, or the opaque id of a cookie."""

    session_id: Opaque


class EndOtherSessions(Body):
    """Command: end all sessions of a person but one.

    Attributes:
        but: the id of the one that stays.
    """

    but: UUID


class EditMe(Body):
    """Command: change one's own profile; fields that are left out stay as they are."""

    name: LeftOut[Name] = Field(default_factory=left_out, description="The new name, that others see from now on.")
    about: About | None = Field(
        default=None,
        description="What others read of you: plain text, which may have several lines. Null takes it away; left out, "
        "it stays.",
    )


class GrantRole(Body):
    """Command of an operator: grant a role; `reader` takes all others away. A dry run only says which they would be."""

    email: EmailText
    role: Role
    dry_run: bool = False


class RevokeRole(Body):
    """Command of an operator: take a role away. A dry run only says which would be left."""

    email: EmailText
    role: Role
    dry_run: bool = False


class ListPeople(Body):
    """Query of an operator: people in the order in which they came.

    Attributes:
        part: a part of a name or a confirmed address, in any case.
        imported: only those who came from another system, or only those who did not.
        erased: those who are erased instead of those who are not.
        cursor: where the page before ended.
    """

    role: Role | None = None
    part: Opaque | None = None
    imported: bool | None = None
    erased: bool = False
    cursor: str | None = None


class ShowPerson(Body):
    """Query of an operator: one person, by id or by the address that is confirmed."""

    person: EmailText


class EndSessions(Body):
    """Command of an operator: end the open sessions of a person and all that could still open one, or one session.

    Attributes:
        person: an id, or the address that the person has confirmed.
        dry_run: only say which.
    """

    person: EmailText
    session_id: UUID | None = None
    dry_run: bool = False


class ImportPerson(Body):
    """Command of an import: import an author known by (site, source_user_id), else by (site, email, name).

    The author becomes a person without sign-in. The typed address is stored in people as an unverified note.
    """

    site: Opaque
    source_user_id: Opaque | None = None
    name: ImportedTitle = ""
    email: ImportedText | None = None
    created_at: Moment | None = None
