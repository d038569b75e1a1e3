"""Schemas of pictures."""

from uuid import UUID

from pydantic import BaseModel, Field, RootModel

from services.gateway.apidocs.schemas.shared import Uri


class PictureFile(RootModel[bytes]):
    """A picture as a file; its first bytes must be those of the media type that the request names."""


class Image(BaseModel):
    """A picture that was stored, as WebP and without what the file said about it."""

    id: UUID = Field(description="Its id, for the `cover` of a post.")
    url: Uri = Field(description="Its address, for the text of a post: `![what it shows](url)`. It never changes.")
    width: int = Field(description="Its width in pixels, at most 2,048.")
    height: int = Field(description="Its height in pixels.")
