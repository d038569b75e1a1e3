"""Events and commands of the people service. Events never contain a name or an address."""

from collections.abc import Collection
from typing import ClassVar, Literal, get_args
from uuid import UUID

from pydantic import StrictBool

from services.contracts.event import Event, Moment, published
from services.contracts.text import Body, EmailText, ImportedText, ImportedTitle, Name, Opaque
from services.contracts.topics import PEOPLE, Topic

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

    person_id: UUID
    roles: tuple[str, ...]
    version: int
    occurred_at: Moment
    imported: bool = False

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
    """A person changed their name."""

    type: ClassVar[str] = "dev.rapport.people.renamed.v1"


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


REQUESTER = "Rapport-Requester"  # of internal calls that ask for a mail: a pseudonym of the network they come from


class Register(Body):
    """Command: register, by sending a confirmation link that signs in."""

    name: Name
    email: EmailText


class SignIn(Body):
    """Command: send a sign-in link to a known address."""

    email: EmailText


class StartSession(Body):
    """Command: start a session by using a link. `cookie` asks for an opaque session id instead of a pair of tokens."""

    token: Opaque
    cookie: StrictBool = False


class RefreshSession(Body):
    """Command: exchange a refresh token for a new pair."""

    refresh_token: Opaque


class SessionReference(Body):
    """Reference to a session: the `sid` of an access token, or the opaque id of a cookie."""

    session_id: Opaque


class EditMe(Body):
    """Command: change one's own name."""

    name: Name


class GrantRole(Body):
    """Command of an operator: grant a role; `reader` takes all others away."""

    email: EmailText
    role: Role


class RevokeRole(Body):
    """Command of an operator: take a role away."""

    email: EmailText
    role: Role


class ImportPerson(Body):
    """Command of an import: import an author known by (site, source_user_id), else by (site, email, name).

    The author becomes a person without sign-in. The typed address is stored in people as an unverified note.
    """

    site: Opaque
    source_user_id: Opaque | None = None
    name: ImportedTitle = ""
    email: ImportedText | None = None
    created_at: Moment | None = None
