"""Events and commands of the posts service. Every event carries the whole structure, so a reader needs one upsert."""

from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field, StrictBool, StrictInt

from services.contracts.event import Event, Moment, published
from services.contracts.ids import Id
from services.contracts.tags import Tags
from services.contracts.text import (
    Body,
    EditNote,
    Excerpt,
    ImportedText,
    ImportedTitle,
    LeftOut,
    Opaque,
    PostText,
    Title,
    left_out,
)
from services.contracts.times import Time
from services.contracts.topics import POSTS, Topic

Discussion = Literal["open", "held", "closed"]


class PostFact(Event):
    """The structure of one post after the change that the type names.

    `version` increases by one with every change of the post's own text, slug, discussion or status.
    """

    topic: ClassVar[Topic] = POSTS

    post_id: UUID = Field(description="The post; also the subject and the record key.")
    author_id: UUID = Field(description="Who wrote it.")
    kind: Literal["post", "page"] = Field(description="An entry, or a page that stands for itself.")
    status: Literal["draft", "published", "withdrawn"] = Field(description="Where it stands after the change.")
    discussion: Discussion = Field(description="What happens to new comments.")
    version: int = Field(description="Grows by one with every change of its text, slug, discussion or status.")
    revision: int = Field(description="The number of its text; the first is 1, and stays so until it is published.")
    occurred_at: Moment = Field(description="When the change was made.")
    imported: bool = Field(default=False, description="Whether it came from another system.")
    text_id: UUID | None = Field(
        default=None,
        description="Names its text: with another one it is another text, whatever its number. Absent in early events.",
    )

    @property
    def subject(self) -> UUID:
        return self.post_id

    @property
    def key(self) -> UUID:
        return self.post_id


@published
class PostDrafted(PostFact):
    """A post was created as a draft."""

    type: ClassVar[str] = "dev.rapport.posts.drafted.v1"


@published
class PostPublished(PostFact):
    """A post was published."""

    type: ClassVar[str] = "dev.rapport.posts.published.v1"


@published
class PostEdited(PostFact):
    """A post was changed: its text, slug, tags, excerpt, cover, time of publication or discussion setting."""

    type: ClassVar[str] = "dev.rapport.posts.edited.v1"


@published
class PostWithdrawn(PostFact):
    """A post was withdrawn."""

    type: ClassVar[str] = "dev.rapport.posts.withdrawn.v1"


@published
class PostDeleted(PostFact):
    """A draft was deleted, by its author or an admin."""

    type: ClassVar[str] = "dev.rapport.posts.deleted.v1"


@published
class PostImported(PostFact):
    """A post was imported from another system."""

    type: ClassVar[str] = "dev.rapport.posts.imported.v1"


@published
class PostStated(PostFact):
    """The present state of a post was published to rebuild read models. Never notifies."""

    type: ClassVar[str] = "dev.rapport.posts.stated.v1"


@published
class PostGone(Event):
    """A post that a reader knows is not there: its owner was restored from before it. A later fact brings it back."""

    type: ClassVar[str] = "dev.rapport.posts.gone.v1"
    topic: ClassVar[Topic] = POSTS

    post_id: UUID = Field(description="The post; also the subject and the record key.")
    version: int = Field(description="One more than the version that the reader knew.")
    occurred_at: Moment = Field(description="When it was stated.")

    @property
    def subject(self) -> UUID:
        return self.post_id

    @property
    def key(self) -> UUID:
        return self.post_id


@published
class PostRevisionBlanked(Event):
    """A former text of a post was taken away, by its author or an admin: its words are not kept any more."""

    type: ClassVar[str] = "dev.rapport.posts.revision-blanked.v1"
    topic: ClassVar[Topic] = POSTS

    post_id: UUID = Field(description="The post; also the record key.")
    text_id: UUID = Field(description="The text; also the subject.")
    revision: int = Field(description="The number of the text.")
    version: int = Field(default=1, description="Always 1: a text is taken away once.")
    occurred_at: Moment = Field(description="When it was taken away.")

    @property
    def subject(self) -> UUID:
        return self.text_id

    @property
    def key(self) -> UUID:
        return self.post_id


class CreatePost(Body):
    """Command: create a post, published at once if `publish` is true."""

    title: Title = Field(description="One line of plain text.")
    body: PostText = Field(description="The text, in Markdown. Raw HTML in it is shown as text.")
    slug: Opaque | None = Field(
        default=None,
        description="Its name in addresses: up to 200 lower-case letters and digits of any alphabet, `-` and `_`, "
        "never of a UUID's form. Without one it is made from the title.",
    )
    discussion: Discussion = Field(default="open", description="What happens to new comments.")
    publish: StrictBool = Field(default=False, description="Whether to publish it at once; else it is a draft.")
    cover: Id | None = Field(default=None, description="The id of a picture of yours that stands for the post.")
    kind: Literal["post", "page"] = Field(default="post", description="An entry, or a page that stands for itself.")
    tags: Tags = Field(
        default=[],
        description="What it is about. Tags that differ in case alone are one, spelt as it was first used.",
    )
    excerpt: Excerpt | None = Field(
        default=None,
        description="What lists show of it, as plain text; without one the beginning of the text is taken.",
    )
    publish_at: Time | None = Field(
        default=None, description="When to publish it: at most five years ahead, and not together with `publish`."
    )


class EditPost(Body):
    """Command: edit a post; fields that are left out stay as they are."""

    title: LeftOut[Title] = Field(default_factory=left_out, description="The new title: one line of plain text.")
    body: LeftOut[PostText] = Field(default_factory=left_out, description="The whole new text, in Markdown.")
    edit_note: EditNote | None = Field(
        default=None, description="What to tell readers about the change; only together with a changed title or body."
    )
    discussion: LeftOut[Discussion] = Field(
        default_factory=left_out, description="What happens to new comments from now on."
    )
    cover: Id | None = Field(
        default=None, description="The id of a picture of yours that stands for the post; null takes it away."
    )
    slug: LeftOut[Opaque] = Field(
        default_factory=left_out,
        description="Its new name in addresses. The former one leads to it from then on if it was ever published, and "
        "stays reserved for it; else it is free.",
    )
    tags: LeftOut[Tags] = Field(default_factory=left_out, description="All its tags from now on.")
    excerpt: Excerpt | None = Field(
        default=None, description="What lists show of it, as plain text; null takes the beginning of the text again."
    )
    publish_at: Time | None = Field(
        default=None,
        description="When to publish it, of a draft: at most five years ahead; null takes it back. Of a post that was "
        "published before, both are refused as `wrong-state`.",
    )


class PreviewPost(Body):
    """Query: what would this text be as a post?"""

    body: PostText


class ImportPost(Body):
    """Command of an import: import a post. Unique by (site, source_id); a repetition adds nothing but addresses.

    `addresses` are paths with their queries that the post had there.
    """

    site: Opaque
    source_id: Opaque
    author_id: UUID
    kind: Literal["post", "page"] = "post"
    title: ImportedTitle = ""
    body: ImportedText = ""
    format: Literal["html", "markdown"] = "html"
    excerpt: ImportedText | None = None
    slug: str | None = None
    status: Literal["draft", "published"] = "draft"
    discussion: Discussion = "open"
    created_at: Moment
    published_at: Moment | None = None
    addresses: list[str] = Field(default=[], max_length=20)
    tags: Tags = Field(default=[])


class CompleteImport(Body):
    """Command of an import: give an imported post the text that leads to posts imported after it.

    A post that anybody has changed since it was imported keeps its text.
    """

    post_id: UUID
    body: ImportedText


class FindAddress(Body):
    """Query: which post had this address, a path with its query, before it was imported?"""

    address: str


class LookUpSlugs(Body):
    """Query: which published posts have these slugs? Unknown ones are left out of the answer."""

    slugs: Annotated[list[Opaque], Field(max_length=100)]


class RevisionOf(Body):
    """A revision of a post."""

    id: UUID
    revision: Annotated[StrictInt, Field(ge=1, lt=2**31)]


class LookUpTitles(Body):
    """Query of notify: look up the titles of these revisions; unknown ones are left out of the answer."""

    revisions: Annotated[list[RevisionOf], Field(max_length=200)]
