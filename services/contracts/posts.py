"""Events and commands of the posts service. Every event carries the whole structure, so a reader needs one upsert."""

from typing import ClassVar, Literal
from uuid import UUID

from pydantic import Field, StrictBool

from services.contracts.event import Event, Moment, published
from services.contracts.text import Body, EditNote, ImportedText, ImportedTitle, Opaque, PostText, Title
from services.contracts.topics import POSTS, Topic

Discussion = Literal["open", "held", "closed"]


class PostFact(Event):
    """The structure of one post after the change that the type names.

    `version` increases by one with every change of the post's own text, slug, discussion or status.
    """

    topic: ClassVar[Topic] = POSTS

    post_id: UUID
    author_id: UUID
    kind: Literal["post", "page"]
    status: Literal["draft", "published", "withdrawn"]
    discussion: Discussion
    version: int
    revision: int
    occurred_at: Moment
    imported: bool = False

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
    """The text or discussion setting of a post was changed, by its author or an admin."""

    type: ClassVar[str] = "dev.rapport.posts.edited.v1"


@published
class PostWithdrawn(PostFact):
    """A post was withdrawn."""

    type: ClassVar[str] = "dev.rapport.posts.withdrawn.v1"


@published
class PostImported(PostFact):
    """A post was imported from another system."""

    type: ClassVar[str] = "dev.rapport.posts.imported.v1"


@published
class PostStated(PostFact):
    """The present state of a post was published to rebuild read models. Never notifies."""

    type: ClassVar[str] = "dev.rapport.posts.stated.v1"


class CreatePost(Body):
    """Command: create a post, published at once if `publish` is true."""

    title: Title
    body: PostText
    slug: Opaque | None = None
    discussion: Discussion = "open"
    publish: StrictBool = False


class EditPost(Body):
    """Command: edit a post; fields that are left out stay as they are."""

    title: Title | None = None
    body: PostText | None = None
    edit_note: EditNote | None = None
    discussion: Discussion | None = None


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


class CompleteImport(Body):
    """Command of an import: give an imported post the text that leads to posts imported after it.

    A post that anybody has changed since it was imported keeps its text.
    """

    post_id: UUID
    body: ImportedText


class FindAddress(Body):
    """Query: which post had this address, a path with its query, before it was imported?"""

    address: str
