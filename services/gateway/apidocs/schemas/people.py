"""Schemas of people, and of your own account."""

from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field, WithJsonSchema

from services.gateway.apidocs.schemas.shared import AVATAR, NAME, NEXT, Role, Unavailable, Uri

Email = Annotated[str, WithJsonSchema({"type": "string", "format": "email"})]


ABOUT = "What they say of themselves; null if nothing. Plain text, which may have several lines: escape it."


class Profile(BaseModel):
    """What everybody may know of a person. Never an address."""

    id: UUID = Field(description="The id of the person.")
    name: str | None = Field(description=NAME)
    avatar_url: Uri | None = Field(description=AVATAR)
    about: str | None = Field(description=ABOUT)
    created_at: AwareDatetime = Field(description="When the person came.")
    comment_count: int | None = Field(description="Their visible comments. Null when it could not be had in time.")
    unavailable: Unavailable = []


class Me(BaseModel):
    """Your own account."""

    id: UUID = Field(description="Your id.")
    name: str = Field(description="The name that others see. Plain text: escape it.")
    email: Email = Field(description="Your address. Nobody else sees it.")
    email_confirmed: bool = Field(description="Whether you have used a link that was mailed to it.")
    avatar_url: Uri | None = Field(description=AVATAR)
    about: str | None = Field(description=ABOUT)
    roles: list[Role] = Field(description="What you may do.")
    created_at: AwareDatetime = Field(description="When you came.")


class OpenSession(BaseModel):
    """A place where you are signed in."""

    id: UUID = Field(description="The id of the session.")
    created_at: AwareDatetime = Field(description="When it began.")
    last_used_at: AwareDatetime = Field(description="The hour in which it was last used.")
    user_agent: str | None = Field(
        description="What the client called itself when the session began, 300 characters at most; null if it did not. "
        "Plain text: escape it."
    )
    current: bool = Field(description="Whether this request was sent with it.")


class OpenSessions(BaseModel):
    """A page of your open sessions, newest first."""

    items: list[OpenSession] = Field(description="The sessions of this page.")
    next: str | None = Field(description=NEXT)


class Accepted(BaseModel):
    """The request is taken and will be carried out."""

    status: str = Field(description="That it was taken.", json_schema_extra={"enum": ["accepted"]})
