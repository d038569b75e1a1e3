"""Schemas of comments and their lists."""

from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field, WithJsonSchema

from services.gateway.apidocs.schemas.shared import NEXT, Author, TextFormat, Unavailable
from services.gateway.apidocs.vocabulary import values

CommentState = Annotated[str, WithJsonSchema(values("CommentState"))]


class CommentAuthor(Author):
    """Somebody who wrote a comment."""

    is_post_author: bool = Field(description="Whether they wrote the post, too.")


class Comment(BaseModel):
    """A comment with the beginning of its replies. Of a removed one only the place is shown: a tombstone."""

    id: UUID = Field(description="The id of the comment.")
    post_id: UUID = Field(description="The id of the post that it is about.")
    parent_id: UUID | None = Field(description="The comment that it answers; null at the top.")
    depth: int = Field(description="How deep it stands; 0 at the top, 100 at most.")
    author: CommentAuthor | None = Field(description="Who wrote it; null in a tombstone.")
    body: str | None = Field(
        default=None, description="The text as it was written; only for its author and moderators."
    )
    format: TextFormat | None = Field(default=None, description="The language of `body`; only beside it.")
    body_html: str | None = Field(description="The text as sanitised HTML, safe to insert; null in a tombstone.")
    state: CommentState = Field(description="Who sees it.")
    created_at: AwareDatetime = Field(description="When it was posted.")
    edited_at: AwareDatetime | None = Field(description="When its text changed last; null if never.")
    answered_revision: int | None = Field(
        description="The revision of the post that it is about; null in a tombstone, and where that is not known."
    )
    reply_count: int = Field(description="Its visible direct replies, the same number for every reader.")
    replies: "Comments" = Field(
        description="The beginning, perhaps empty, of its direct replies, oldest first. `next` leads on, at "
        "`/v1/comments/{comment_id}/replies`; it is null exactly when these are all."
    )
    unavailable: Unavailable = []


class Comments(BaseModel):
    """A page of comments. Whoever follows every `next`, outer and inner, sees every comment exactly once."""

    items: list[Comment] = Field(description="The comments of this page, each with the beginning of its replies.")
    next: str | None = Field(description=NEXT)
    unavailable: Unavailable = []


class CommentCounts(BaseModel):
    """The numbers of comments of several posts."""

    counts: dict[str, Annotated[int, Field(ge=0)]] = Field(
        description="Comments that everybody sees, by the id or slug as you sent it; 0 for a post that is not there."
    )
