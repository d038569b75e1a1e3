"""Schemas of posts, their lists, revisions and pages."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field, WithJsonSchema

from services.contracts.text import Body, PostText
from services.gateway.apidocs.schemas.comments import Comment, Comments
from services.gateway.apidocs.schemas.shared import (
    AVATAR,
    CREATED,
    NAME,
    NEXT,
    Author,
    Part,
    Role,
    TextFormat,
    Unavailable,
    Uri,
)
from services.gateway.apidocs.vocabulary import values

DiffOp = Annotated[str, WithJsonSchema(values("DiffOp"))]
PostKind = Annotated[str, WithJsonSchema(values("PostKind"))]
PostStatus = Annotated[str, WithJsonSchema(values("PostStatus"))]
Discussion = Annotated[str, WithJsonSchema(values("Discussion"))]

COUNT = "Comments that everybody sees. Null when it could not be had in time."


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
    excerpt: str = Field(
        description="What the author wrote for lists, else the beginning of the text. Plain text: escape it."
    )
    author: Author = Field(description="Who wrote it.")
    status: PostStatus = Field(description="Draft, scheduled, published or withdrawn.")
    discussion: Discussion = Field(description="What happens to new comments.")
    created_at: AwareDatetime = Field(description=CREATED)
    published_at: AwareDatetime | None = Field(description="When it was published first; null before.")
    edited_at: AwareDatetime | None = Field(description="When title or body changed last after publication.")
    edit_note: str | None = Field(description="What the author said about that change. Plain text: escape it.")
    revision: int = Field(description="The number of its text; the first is 1.")
    cover_url: Uri | None = Field(description="The picture that stands for it; null if there is none.")
    tags: list[str] = Field(description="What it is about. Plain text: escape it.")
    word_count: int | None = Field(
        description="How many words the text has. In Chinese and Japanese each character counts as one, in Thai, Lao, "
        "Burmese and Khmer every four letters. Null where they have not been counted yet."
    )
    publish_at: AwareDatetime | None = Field(description="When it will be published; null unless it is scheduled.")
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


class TagCount(BaseModel):
    """A tag, and how many published posts have it."""

    tag: str = Field(description="As it was spelt when it was first used. Plain text: escape it.")
    post_count: int = Field(description="How many published posts have it; pages do not count.")


class TagCounts(BaseModel):
    """A page of the tags of published posts, the most used first."""

    items: list[TagCount] = Field(description="The tags of this page.")
    next: str | None = Field(description=NEXT)


class Preview(Body):
    """Query: what would this text be?"""

    body: PostText = Field(description="The text, in Markdown.")
    kind: Literal["post", "comment"] = Field(description="As what it is rendered.")


class Previewed(BaseModel):
    """A text as it would be shown."""

    body_html: str = Field(description="Sanitised HTML, safe to insert.")


class DiffPart(BaseModel):
    """A piece of what differs between two texts."""

    op: DiffOp = Field(description="Where it stands.")
    text: str = Field(description="The piece itself, never empty. Plain text: escape it.")


class FormerText(BaseModel):
    """One text of a post."""

    revision: int = Field(description="Its number; the first is 1, and stays so until the post is published.")
    title: str | None = Field(description="The title then; null once it was taken away. Plain text: escape it.")
    body: str | None = Field(description="The text then, as it was written; null once it was taken away.")
    edit_note: str | None = Field(description="What the author said about the change. Plain text: escape it.")
    created_at: AwareDatetime = Field(description="When this text was written.")


class Revision(FormerText):
    """One text of a post, and what differs from another one."""

    diff: list[DiffPart] | None = Field(
        default=None,
        description="With `against`, and only then: what leads from that text to this one, in order. Null if one of "
        "them was taken away.",
    )


class Revisions(BaseModel):
    """A page of the revisions of a post, newest first."""

    items: list[FormerText] = Field(description="The revisions of this page.")
    next: str | None = Field(description=NEXT)


class PageViewer(BaseModel):
    """Who is signed in, and what they may do with this post."""

    id: UUID = Field(description="The id of the person.")
    name: str | None = Field(description=NAME)
    avatar_url: Uri | None = Field(description=AVATAR)
    roles: list[Role] = Field(description="What they may do in general.")
    can_comment: bool = Field(description="Whether they may comment here now.")
    can_moderate: bool = Field(description="Whether they may decide about comments.")
    can_edit_post: bool = Field(description="Whether they may change this post.")
    unread: Annotated[int, Field(ge=0, le=1000)] | None = Field(
        description="Notifications that they have not read; 1,000 stands for more, too. Null if not had in time."
    )
    waiting: Annotated[int, Field(ge=0, le=1000)] | None = Field(
        default=None,
        description="For moderators alone: comments that wait for one; 1,000 stands for more, too. Null if not had in "
        "time.",
    )


class CommentContext(BaseModel):
    """A comment with what it is about."""

    post: Post = Field(description="The post.")
    above: list[Comment] = Field(
        description="The comments above it, from the top down, each without its replies. Where they are too long for "
        "one answer, those at the top are left out."
    )
    comment: Comment = Field(description="The comment, with the beginning of its replies.")
    unavailable: Unavailable = []


class Page(BaseModel):
    """All that the page of a post shows, in one answer."""

    post: Post = Field(description="The post.")
    comments: Comments | None = Field(description="The first page of its comments, oldest first.")
    comment_count: int | None = Field(description=COUNT)
    viewer: PageViewer | None = Field(description="Who is signed in; null if nobody is.")
    unavailable: list[Part] = Field(description="Parts that could not be had in time; always there, mostly empty.")
