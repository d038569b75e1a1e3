"""Fields and parts that several answers have."""

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field, WithJsonSchema

from services.gateway.apidocs.vocabulary import values

Uri = Annotated[str, WithJsonSchema({"type": "string", "format": "uri"})]
TextFormat = Annotated[str, WithJsonSchema(values("TextFormat"))]
Role = Annotated[str, WithJsonSchema(values("Role"))]
Part = Annotated[str, WithJsonSchema(values("Part"))]

CREATED = "When it was created."
AVATAR = "A picture of the person; null if there is none."
NEXT = "The `cursor` of the next page; null on the last one."
UNAVAILABLE = "Parts that could not be had in time. Left out when there are none."
NAME = "Plain text: escape it. Null when people could not be asked in time."

Unavailable = Annotated[list[Part], Field(description=UNAVAILABLE)]


class Author(BaseModel):
    """Somebody who wrote something."""

    id: UUID = Field(description="The id of the person.")
    name: str | None = Field(description=NAME)
    avatar_url: Uri | None = Field(description=AVATAR)


class SiteNames(BaseModel):
    """Whose site this is."""

    name: str = Field(description="Plain text: escape it.")
    tagline: str = Field(description="What it is about, in a few words; may be empty.")
    url: Uri = Field(description="The address of its pages.")
    picture_url: Uri | None = Field(description="Its picture; null where it has none.")
    language: str = Field(description="The language of what the site itself says, as BCP 47 names it.")
    languages: list[str] = Field(description="All languages in which its pages are there.")
