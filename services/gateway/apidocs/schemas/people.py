"""Schemas of people, and of your own account."""

from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field, WithJsonSchema

from services.gateway.apidocs.schemas.shared import AVATAR, NAME, Role, Unavailable, Uri

Email = Annotated[str, WithJsonSchema({"type": "string", "format": "email"})]


class Profile(BaseModel):
    """What everybody may know of a person. Never an address."""

    id: UUID = Field(description="The id of the person.")
    name: str | None = Field(description=NAME)
    avatar_url: Uri | None = Field(description=AVATAR)
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
    roles: list[Role] = Field(description="What you may do.")
    created_at: AwareDatetime = Field(description="When you came.")


class Accepted(BaseModel):
    """The request is taken and will be carried out."""

    status: str = Field(description="That it was taken.", json_schema_extra={"enum": ["accepted"]})
