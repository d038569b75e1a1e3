"""Schemas of the public API, for `/openapi.json`. Answers are composed by `composition.representations`."""

from typing import Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field, RootModel

from services.contracts.posts import Discussion
from services.contracts.text import Body, Opaque


class Author(BaseModel):
    id: UUID
    name: str | None
    avatar_url: str | None


class PostInList(BaseModel):
    id: UUID
    kind: Literal["post", "page"]
    slug: str
    url: str
    title: str
    format: Literal["markdown", "html"]
    excerpt: str
    author: Author
    status: Literal["draft", "published", "withdrawn"]
    discussion: Discussion
    created_at: AwareDatetime
    published_at: AwareDatetime | None
    edited_at: AwareDatetime | None
    edit_note: str | None
    revision: int
    comment_count: int | None


class Post(PostInList):
    body: str
    body_html: str
    unavailable: list[str] = Field(
        default=[], description="Parts that could not be fetched; left out when there are none."
    )


class Posts(BaseModel):
    items: list[PostInList]
    next: str | None
    unavailable: list[str] = Field(
        default=[], description="Parts that could not be fetched; left out when there are none."
    )


class Revision(BaseModel):
    revision: int
    title: str
    body: str
    edit_note: str | None
    created_at: AwareDatetime


class Revisions(BaseModel):
    items: list[Revision]
    next: str | None


class Comment(BaseModel):
    id: UUID
    post_id: UUID
    parent_id: UUID | None
    depth: int
    author: Author | None = Field(description="Null when the comment was removed and only its place is kept.")
    body: str | None = Field(default=None, description="Only for its author and moderators.")
    format: Literal["markdown", "html"] | None = Field(default=None, description="Only beside `body`.")
    body_html: str | None
    state: Literal["visible", "held", "removed"]
    created_at: AwareDatetime
    edited_at: AwareDatetime | None
    reply_count: int
    replies: "Comments"
    unavailable: list[str] = Field(
        default=[], description="Parts that could not be fetched; left out when there are none."
    )


class Comments(BaseModel):
    items: list[Comment]
    next: str | None
    unavailable: list[str] = Field(
        default=[], description="Parts that could not be fetched; left out when there are none."
    )


class PageViewer(BaseModel):
    id: UUID
    name: str | None
    avatar_url: str | None
    roles: list[str]
    can_comment: bool
    can_moderate: bool
    can_edit_post: bool


class Page(BaseModel):
    post: Post
    comments: Comments | None
    comment_count: int | None
    viewer: PageViewer | None
    unavailable: list[str]


class Profile(BaseModel):
    id: UUID
    name: str | None
    avatar_url: str | None
    created_at: AwareDatetime
    comment_count: int | None
    unavailable: list[str] = Field(
        default=[], description="Parts that could not be fetched; left out when there are none."
    )


class Me(BaseModel):
    id: UUID
    name: str
    email: str
    email_confirmed: bool
    avatar_url: str | None
    roles: list[str]
    created_at: AwareDatetime


class Session(BaseModel):
    access_token: str
    token_type: Literal["Bearer"]
    expires_in: int = Field(description="Seconds.")
    refresh_token: str
    person: Me


class CheckYourMail(BaseModel):
    status: Literal["check_your_mail"]
    request: str = Field(description="Names the request; with it the code in the mail signs in.")


class Mail(BaseModel):
    notifications: bool


class Notification(BaseModel):
    id: UUID
    comment_id: UUID
    post_id: UUID
    reasons: list[str]
    state: Literal["waiting", "sent", "skipped", "failed"]
    why: str | None
    created_at: AwareDatetime
    sent_at: AwareDatetime | None


class Notifications(BaseModel):
    items: list[Notification]
    next: str | None


class Explanation(BaseModel):
    comment_id: UUID
    post_id: UUID | None
    state: Literal["waiting", "sent", "skipped", "failed", "none"]
    reasons: list[str]
    why: str | None
    text: str
    created_at: AwareDatetime | None
    sent_at: AwareDatetime | None


class UseLink(Body):
    """Command: sign in with the token of a mailed link."""

    token: Opaque


class UseCode(Body):
    """Command: sign in with the code of a mail: 8 digits."""

    request: Opaque = Field(description="The `request` of the answer to `POST /v1/people` or `/v1/sign-in`.")
    code: Opaque


class FetchSession(Body):
    """Command: sign in with the code that a link with `return_to` led back with, once and within 60 seconds."""

    code: Opaque
    verifier: Opaque = Field(description="What the `challenge` was made of (RFC 7636).")


class StartSession(RootModel[UseLink | UseCode | FetchSession]):
    """Command: sign in, in one of three ways."""
