"""What the people service says: that somebody changed, never what they are called or where their mail goes."""

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
    """Return whether somebody with these roles may administer; an admin may do what author and moderator may."""
    return "admin" in roles


def is_author(roles: Collection[str]) -> bool:
    """Return whether somebody with these roles may write posts."""
    return "author" in roles or "admin" in roles


def is_moderator(roles: Collection[str]) -> bool:
    """Return whether somebody with these roles may moderate."""
    return "moderator" in roles or "admin" in roles


class PersonFact(Event):
    """One person after the change that the type names. `roles` holds open values: ignore what you do not know."""

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
    """An address was confirmed by its link for the first time."""

    type: ClassVar[str] = "dev.rapport.people.confirmed.v1"


@published
class PersonRenamed(PersonFact):
    type: ClassVar[str] = "dev.rapport.people.renamed.v1"


@published
class PersonRolesChanged(PersonFact):
    type: ClassVar[str] = "dev.rapport.people.roles-changed.v1"


@published
class PersonErased(PersonFact):
    """The person asked to be forgotten; sign-in has ended and no mail goes to them any more."""

    type: ClassVar[str] = "dev.rapport.people.erased.v1"


@published
class PersonImported(PersonFact):
    type: ClassVar[str] = "dev.rapport.people.imported.v1"


@published
class PersonStated(PersonFact):
    """Not a fact that just happened but the row as it is, written to rebuild readers."""

    type: ClassVar[str] = "dev.rapport.people.stated.v1"


class Register(Body):
    """Command: send a confirmation link that signs in."""

    name: Name
    email: EmailText


class SignIn(Body):
    """Command: send a sign-in link to an address that is known."""

    email: EmailText


class StartSession(Body):
    """Command: use a link. `cookie` asks for one opaque session id instead of a pair of tokens (our own pages)."""

    token: Opaque
    cookie: StrictBool = False


class RefreshSession(Body):
    """Command: exchange a refresh token for a new pair."""

    refresh_token: Opaque


class SessionReference(Body):
    """A session by what its holder has of it: the `sid` of an access token, or the opaque id of a cookie."""

    session_id: Opaque


class EditMe(Body):
    """Command: be called differently."""

    name: Name


class GrantRole(Body):
    """Command of an operator."""

    email: EmailText
    role: Role


class ImportPerson(Body):
    """Command of an import: an author known by (site, source_user_id), else by (site, email, name).

    Becomes a person without sign-in. The typed address stays an unverified note in people.
    """

    site: Opaque
    source_user_id: Opaque | None = None
    name: ImportedTitle = ""
    email: ImportedText | None = None
    created_at: Moment | None = None
