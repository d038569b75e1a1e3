"""Schemas of the answers, for `/openapi.json`. They are composed by `composition.representations`.

What a type such as `CommentState` may hold stands in `vocabulary`. Every field says what it means; a test holds that.
"""

from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field, RootModel, WithJsonSchema

from services.contracts.text import Body, Opaque
from services.gateway.apidocs.vocabulary import values

Uri = Annotated[str, WithJsonSchema({"type": "string", "format": "uri"})]
Email = Annotated[str, WithJsonSchema({"type": "string", "format": "email"})]

PostKind = Annotated[str, WithJsonSchema(values("PostKind"))]
PostStatus = Annotated[str, WithJsonSchema(values("PostStatus"))]
TextFormat = Annotated[str, WithJsonSchema(values("TextFormat"))]
Discussion = Annotated[str, WithJsonSchema(values("Discussion"))]
CommentState = Annotated[str, WithJsonSchema(values("CommentState"))]
NotificationState = Annotated[str, WithJsonSchema(values("NotificationState"))]
ExplanationState = Annotated[str, WithJsonSchema(values("ExplanationState"))]
Role = Annotated[str, WithJsonSchema(values("Role"))]
NotificationReason = Annotated[str, WithJsonSchema(values("NotificationReason"))]
WhyNot = Annotated[str, WithJsonSchema(values("WhyNot"))]
Part = Annotated[str, WithJsonSchema(values("Part"))]

CREATED = "When it was created."
AVATAR = "A picture of the person; null if there is none."
NEXT = "The `cursor` of the next page; null on the last one."
UNAVAILABLE = "Parts that could not be had in time. Left out when there are none."
NAME = "Plain text: escape it. Null when people could not be asked in time."
COUNT = "Comments that everybody sees. Null when it could not be had in time."

Unavailable = Annotated[list[Part], Field(description=UNAVAILABLE)]


class Author(BaseModel):
    """Somebody who wrote something."""

    id: UUID = Field(description="The id of the person.")
    name: str | None = Field(description=NAME)
    avatar_url: Uri | None = Field(description=AVATAR)


class PostInList(BaseModel):
    """A post as lists show it: without its text."""

    id: UUID = Field(description="The id of the post; it never changes.")
    kind: PostKind = Field(description="An entry or a page.")
    slug: str = Field(
        description="Its name in addresses: lower-case letters and digits of any alphabet, `-` and `_`, as plain text."
    )
    url: Uri = Field(description="The address of its page, with the slug percent-encoded.")
    title: str = Field(description="Plain text: escape it. Empty only in what was imported.")
    format: TextFormat = Field(description="The language of `body`.")
    excerpt: str = Field(description="The beginning of the text, as plain text: escape it.")
    author: Author = Field(description="Who wrote it.")
    status: PostStatus = Field(description="Draft, published or withdrawn.")
    discussion: Discussion = Field(description="What happens to new comments.")
    created_at: AwareDatetime = Field(description=CREATED)
    published_at: AwareDatetime | None = Field(description="When it was published first; null before.")
    edited_at: AwareDatetime | None = Field(description="When title or body changed last after publication.")
    edit_note: str | None = Field(description="What the author said about that change. Plain text: escape it.")
    revision: int = Field(description="The number of its text; the first is 1.")
    comment_count: int | None = Field(description=COUNT)


class Post(PostInList):
    """A post with its text."""

    body: str = Field(description="The text as it was written, in the language that `format` names.")
    body_html: str = Field(description="The text as sanitised HTML, safe to insert.")
    unavailable: Unavailable = []


class Posts(BaseModel):
    """A page of posts, newest first."""

    items: list[PostInList] = Field(description="The posts of this page.")
    next: str | None = Field(description=NEXT)
    unavailable: Unavailable = []


class Revision(BaseModel):
    """One text of a post."""

    revision: int = Field(description="Its number; the first is 1.")
    title: str = Field(description="The title then. Plain text: escape it.")
    body: str = Field(description="The text then, as it was written.")
    edit_note: str | None = Field(description="What the author said about the change. Plain text: escape it.")
    created_at: AwareDatetime = Field(description="When this text was written.")


class Revisions(BaseModel):
    """A page of the revisions of a post, newest first."""

    items: list[Revision] = Field(description="The revisions of this page.")
    next: str | None = Field(description=NEXT)


class Comment(BaseModel):
    """A comment with the beginning of its replies. Of a removed one only the place is shown: a tombstone."""

    id: UUID = Field(description="The id of the comment.")
    post_id: UUID = Field(description="The id of the post that it is about.")
    parent_id: UUID | None = Field(description="The comment that it answers; null at the top.")
    depth: int = Field(description="How deep it stands; 0 at the top, 100 at most.")
    author: Author | None = Field(description="Who wrote it; null in a tombstone.")
    body: str | None = Field(
        default=None, description="The text as it was written; only for its author and moderators."
    )
    format: TextFormat | None = Field(default=None, description="The language of `body`; only beside it.")
    body_html: str | None = Field(description="The text as sanitised HTML, safe to insert; null in a tombstone.")
    state: CommentState = Field(description="Who sees it.")
    created_at: AwareDatetime = Field(description="When it was posted.")
    edited_at: AwareDatetime | None = Field(description="When its text changed last; null if never.")
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


class PageViewer(BaseModel):
    """Who is signed in, and what they may do with this post."""

    id: UUID = Field(description="The id of the person.")
    name: str | None = Field(description=NAME)
    avatar_url: Uri | None = Field(description=AVATAR)
    roles: list[Role] = Field(description="What they may do in general.")
    can_comment: bool = Field(description="Whether they may comment here now.")
    can_moderate: bool = Field(description="Whether they may decide about comments.")
    can_edit_post: bool = Field(description="Whether they may change this post.")


class Page(BaseModel):
    """All that the page of a post shows, in one answer."""

    post: Post = Field(description="The post.")
    comments: Comments | None = Field(description="The first page of its comments, oldest first.")
    comment_count: int | None = Field(description=COUNT)
    viewer: PageViewer | None = Field(description="Who is signed in; null if nobody is.")
    unavailable: list[Part] = Field(description="Parts that could not be had in time; always there, mostly empty.")


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


class Session(BaseModel):
    """A signed-in session: a token to call with, and one to get the next pair with."""

    access_token: str = Field(description="For `Authorization: Bearer`. A text without meaning to a client.")
    token_type: str = Field(description="How to send it.", json_schema_extra={"enum": ["Bearer"]})
    expires_in: int = Field(description="Seconds until `access_token` is refused.")
    refresh_token: str = Field(description="Works once, at `/v1/sessions/refresh`. Keep it secret.")
    person: Me = Field(description="Who is signed in.")


class CheckYourMail(BaseModel):
    """The same answer whether the address is known or not."""

    status: str = Field(description="What to do next.", json_schema_extra={"enum": ["check_your_mail"]})
    request: str = Field(description="Names the request; with it the code in the mail signs in.")


class Accepted(BaseModel):
    """The request is taken and will be carried out."""

    status: str = Field(description="That it was taken.", json_schema_extra={"enum": ["accepted"]})


class Mail(BaseModel):
    """Which mail you get. Sign-in mail always goes on."""

    notifications: bool = Field(description="Whether you are told by mail of answers to you.")


class Notification(BaseModel):
    """One comment that you are told of."""

    id: UUID = Field(description="The id of the notification.")
    comment_id: UUID = Field(description="The comment that it is about.")
    post_id: UUID = Field(description="The post that the comment is about.")
    reasons: list[NotificationReason] = Field(description="Why you are told.")
    state: NotificationState = Field(description="How far its mail is.")
    why: WhyNot | None = Field(description="Why there was no mail; null while it is waiting, and when it was sent.")
    created_at: AwareDatetime = Field(description=CREATED)
    sent_at: AwareDatetime | None = Field(description="When the mail server took the mail; null before.")


class Notifications(BaseModel):
    """A page of your notifications, newest first."""

    items: list[Notification] = Field(description="The notifications of this page.")
    next: str | None = Field(description=NEXT)


class Explanation(BaseModel):
    """Why you were, or were not, told of a comment by mail."""

    comment_id: UUID = Field(description="The comment that you asked about.")
    post_id: UUID | None = Field(description="The post that the comment is about; null if it is not known.")
    state: ExplanationState = Field(description="How far the mail is.")
    reasons: list[NotificationReason] = Field(description="Why you would be told.")
    why: WhyNot | None = Field(description="Why there was no mail; null while it is waiting, and when it was sent.")
    text: str = Field(description="All of it in one sentence, for people.")
    created_at: AwareDatetime | None = Field(description="When the notification was created; null if there is none.")
    sent_at: AwareDatetime | None = Field(description="When the mail server took the mail; null before.")


class UseLink(Body):
    """Command: sign in with the token of a mailed link."""

    token: Opaque = Field(description="The last part of the link in the mail, behind `/sign-in/`. It works once.")


class UseCode(Body):
    """Command: sign in with the code of a mail."""

    request: Opaque = Field(description="The `request` of the answer to `register` or `requestSignIn`.")
    code: Opaque = Field(description="The 8 digits in the mail.")


class FetchSession(Body):
    """Command: sign in with the code that a link with `return_to` led back with, once and within 60 seconds."""

    code: Opaque = Field(description="The code behind `#code=` of the address that was led back to.")
    verifier: Opaque = Field(description="What the `challenge` was made of (RFC 7636).")


class StartSession(RootModel[UseLink | UseCode | FetchSession]):
    """Command: sign in, in one of three ways."""


class FieldProblem(BaseModel):
    """One field that is not valid."""

    field: str = Field(description="Its dotted name; the parameter's name for a query; empty for the whole body.")
    message: str = Field(description="What is wrong with it, as the predicate of a sentence.")


class Problem(BaseModel):
    """A refusal (RFC 9457), in `application/problem+json`. Tell them apart by `type`, never by `title` or `detail`."""

    type: str = Field(
        description="`/problems/` and the kind, which is also the address of a page that explains it. There may be "
        "more kinds later: then go by `status`.",
        json_schema_extra={"format": "uri-reference"},
    )
    title: str = Field(description="The kind in a few words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What happened this time, for people.")
    instance: str = Field(description="The id of the request, as in `X-Request-ID`.")
    errors: list[FieldProblem] = Field(
        default=[], description="The fields that are not valid; only, and always, in problems of kind `invalid`."
    )
