"""Schemas of everything that is kept of a person."""

from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

from services.gateway.apidocs.schemas.comments import CommentState
from services.gateway.apidocs.schemas.images import Image
from services.gateway.apidocs.schemas.notifications import Mail, Notification
from services.gateway.apidocs.schemas.people import Me, OpenSession
from services.gateway.apidocs.schemas.posts import Discussion, FormerText, PostKind, PostStatus
from services.gateway.apidocs.schemas.shared import CREATED, TextFormat, Uri


class ExportedPost(BaseModel):
    """A post of yours, of any status."""

    id: UUID = Field(description="The id of the post.")
    kind: PostKind = Field(description="An entry or a page.")
    slug: str = Field(description="Its name in addresses, as plain text.")
    title: str = Field(description="Plain text.")
    body: str = Field(description="The text as it was written.")
    format: TextFormat = Field(description="The language of `body`.")
    excerpt: str = Field(description="The beginning of the text, as plain text.")
    status: PostStatus = Field(description="Draft, published or withdrawn.")
    discussion: Discussion = Field(description="What happens to new comments.")
    created_at: AwareDatetime = Field(description=CREATED)
    published_at: AwareDatetime | None = Field(description="When it was published first; null before.")
    edited_at: AwareDatetime | None = Field(description="When title or body changed last after publication.")
    edit_note: str | None = Field(description="What you said about that change.")
    revision: int = Field(description="The number of its text; the first is 1.")
    url: Uri = Field(description="The address of its page.")
    cover_url: Uri | None = Field(description="The picture that stands for it; null if there is none.")


class ExportedRevision(FormerText):
    """One text of a post of yours."""

    post_id: UUID = Field(description="The id of the post.")


class ExportedComment(BaseModel):
    """A comment of yours, in any state and below any post."""

    id: UUID = Field(description="The id of the comment.")
    post_id: UUID = Field(description="The id of the post that it is about.")
    parent_id: UUID | None = Field(description="The comment that it answers; null at the top.")
    body: str | None = Field(
        description="The text as you wrote it; null if you removed it, because it is blanked then."
    )
    format: TextFormat = Field(description="The language of `body`.")
    state: CommentState = Field(description="Who sees it.")
    created_at: AwareDatetime = Field(description="When it was posted.")
    edited_at: AwareDatetime | None = Field(description="When its text changed last; null if never.")
    answered_revision: int | None = Field(description="The revision of the post that it is about; null if not known.")
    imported: bool = Field(description="Whether it came from another system.")


class Follow(BaseModel):
    """A discussion that you follow."""

    post_id: UUID = Field(description="The id of the post.")
    since: AwareDatetime = Field(description="Since when.")


class Export(BaseModel):
    """Everything that is kept of you, complete."""

    exported_at: AwareDatetime = Field(description="When it was begun. What was written meanwhile may be in it or not.")
    me: Me = Field(description="Your account.")
    sessions: list[OpenSession] = Field(description="Where you are signed in.")
    posts: list[ExportedPost] = Field(description="Your posts.")
    revisions: list[ExportedRevision] = Field(description="Every text that they have had.")
    images: list[Image] = Field(description="The pictures that you stored for posts.")
    comments: list[ExportedComment] = Field(description="Your comments.")
    mail: Mail = Field(description="Which mail you get.")
    follows: list[Follow] = Field(description="The discussions that you follow.")
    notifications: list[Notification] = Field(description="The comments that you are told of, newest first.")
