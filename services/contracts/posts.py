"""What the posts service says. Every fact carries the post's whole structure, so that one upsert serves a reader."""

from typing import ClassVar, Literal
from uuid import UUID

from pydantic import StrictBool

from services.contracts.event import Event, Moment, published
from services.contracts.text import Body, EditNote, ImportedText, ImportedTitle, Opaque, PostText, Title
from services.contracts.topics import POSTS, Topic

Discussion = Literal["open", "held", "closed"]


class PostFact(Event):
    """The structure of one post after the change that the type names.

    `version` grows by one with every change of the post's own text, slug, discussion or status.
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
    type: ClassVar[str] = "dev.rapport.posts.drafted.v1"


@published
class PostPublished(PostFact):
    type: ClassVar[str] = "dev.rapport.posts.published.v1"


@published
class PostEdited(PostFact):
    """Text or discussion changed, by the author or an admin."""

    type: ClassVar[str] = "dev.rapport.posts.edited.v1"


@published
class PostWithdrawn(PostFact):
    type: ClassVar[str] = "dev.rapport.posts.withdrawn.v1"


@published
class PostImported(PostFact):
    type: ClassVar[str] = "dev.rapport.posts.imported.v1"


@published
class PostStated(PostFact):
    """Not a fact that just happened but the row as it is, written to rebuild readers. Never notifies."""

    type: ClassVar[str] = "dev.rapport.posts.stated.v1"


class CreatePost(Body):
    """Command: write a post, published at once if `publish` says so."""

    title: Title
    body: PostText
    slug: Opaque | None = None
    discussion: Discussion = "open"
    publish: StrictBool = False


class EditPost(Body):
    """Command: change what is named, leave the rest."""

    title: Title | None = None
    body: PostText | None = None
    edit_note: EditNote | None = None
    discussion: Discussion | None = None


class ImportPost(Body):
    """Command of an import: a post as it was elsewhere. Unique by (site, source_id); a repetition changes nothing."""

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
