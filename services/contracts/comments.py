"""Events, commands and queries of comments. Every event carries the comment's whole structure, never its text."""

from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from pydantic import Field, StrictInt

from services.contracts.event import Event, Moment, published
from services.contracts.ids import Id
from services.contracts.services import Ids
from services.contracts.text import Body, CommentText, ImportedText, Opaque
from services.contracts.topics import COMMENTS, Topic

DEEPEST = 100  # the depth below which there are no replies
ROOM = 100  # comments on a page, entries and what is inlined below them; more only to give every entry's reply a place


def room_of_page(limit: int) -> int:
    """Return how many comments a page with so many entries has, with what is inlined below them."""
    return max(2 * limit, ROOM)


class CommentFact(Event):
    """The structure of one comment after the change that the type names.

    `version` grows by one with every change of the comment's own text or state. `parent_author_id` is null at the
    top level. `imported` stays true in every later event about an imported comment: it never causes a mail.
    """

    topic: ClassVar[Topic] = COMMENTS

    comment_id: UUID = Field(description="The comment; also the subject.")
    post_id: UUID = Field(description="The post that it is about; also the record key.")
    post_author_id: UUID = Field(description="The author of that post.")
    parent_id: UUID | None = Field(description="The comment that it answers; null at the top.")
    parent_author_id: UUID | None = Field(description="The author of that comment; null at the top.")
    depth: int = Field(description="How deep it stands; 0 at the top.")
    author_id: UUID = Field(description="Who wrote it.")
    state: Literal["visible", "held", "removed"] = Field(description="Who sees it after the change.")
    version: int = Field(description="Grows by one with every change of its own text or state.")
    created_at: Moment = Field(description="When the comment was posted.")
    occurred_at: Moment = Field(description="When the change was made.")
    imported: bool = Field(default=False, description="Whether it came from another system; then it never mails.")

    @property
    def subject(self) -> UUID:
        return self.comment_id

    @property
    def key(self) -> UUID:
        return self.post_id


@published
class CommentPosted(CommentFact):
    """A comment was posted; `state` says whether it is visible or held."""

    type: ClassVar[str] = "dev.rapport.comments.posted.v1"


@published
class CommentEdited(CommentFact):
    """The text of a comment was edited by its author."""

    type: ClassVar[str] = "dev.rapport.comments.edited.v1"


@published
class CommentRemoved(CommentFact):
    """A comment was removed by its author or a moderator."""

    type: ClassVar[str] = "dev.rapport.comments.removed.v1"


@published
class CommentHeld(CommentFact):
    """A visible comment was held for moderation."""

    type: ClassVar[str] = "dev.rapport.comments.held.v1"


@published
class CommentApproved(CommentFact):
    """A held comment was approved by a moderator and is visible."""

    type: ClassVar[str] = "dev.rapport.comments.approved.v1"


@published
class CommentRejected(CommentFact):
    """A comment was rejected by a moderator."""

    type: ClassVar[str] = "dev.rapport.comments.rejected.v1"


@published
class CommentRestored(CommentFact):
    """A removed comment was restored by a moderator."""

    type: ClassVar[str] = "dev.rapport.comments.restored.v1"


@published
class CommentImported(CommentFact):
    """A comment was imported from another system."""

    type: ClassVar[str] = "dev.rapport.comments.imported.v1"


@published
class CommentStated(CommentFact):
    """The state of a comment now, published to rebuild read models: no new event, and it never causes a mail."""

    type: ClassVar[str] = "dev.rapport.comments.stated.v1"


@published
class CommentGone(Event):
    """A comment that a reader knows is not there: its owner was restored from before it. Never causes a mail."""

    type: ClassVar[str] = "dev.rapport.comments.gone.v1"
    topic: ClassVar[Topic] = COMMENTS

    comment_id: UUID = Field(description="The comment; also the subject.")
    post_id: UUID = Field(description="The post that it was about; also the record key.")
    version: int = Field(description="One more than the version that the reader knew.")
    occurred_at: Moment = Field(description="When it was stated.")

    @property
    def subject(self) -> UUID:
        return self.comment_id

    @property
    def key(self) -> UUID:
        return self.post_id


class CreateComment(Body):
    """Command: comment on a post, or reply to a comment of it."""

    body: CommentText = Field(description="The text, in Markdown. Raw HTML in it is shown as text.")
    parent_id: Id | None = Field(default=None, description="The comment to answer, of the same post; null at the top.")
    answered_revision: Annotated[StrictInt, Field(ge=1, lt=2**31)] | None = Field(
        default=None, description="The revision of the post that was read. A later one than is known counts as that."
    )


SHORT_COMMENT_BYTES = 4_000  # of the JSON of a comment that may travel in a batch
MOST_IN_BATCH = 64


class CommentOfBatch(Body):
    """One comment of a batch: who posts it, as which request, and the body of that request, not yet checked."""

    post_id: UUID
    author_id: UUID
    roles: list[str]
    key: Annotated[str, Field(pattern=r"^[\x20-\x7e]{1,255}$")] | None
    request_id: str
    traceparent: str
    seconds: float
    comment: dict[str, Any]


class CommentBatch(Body):
    """Command of the gateway: post these comments, which came at the same time."""

    items: Annotated[list[CommentOfBatch], Field(max_length=MOST_IN_BATCH)]


class EditComment(Body):
    """Command: edit a comment, within the edit window."""

    body: CommentText = Field(description="The whole new text, in Markdown.")


class PreviewComment(Body):
    """Query: what would this text be as a comment?"""

    body: CommentText


class ImportComment(Body):
    """Command of an operator: import a comment. It is unique by (site, source_id); a repetition changes nothing.

    It is accepted in every state of the discussion; `parent_source_id` names a comment imported before.
    """

    site: Opaque
    source_id: Opaque
    post_id: UUID
    author_id: UUID
    parent_source_id: Opaque | None = None
    body: ImportedText = ""
    format: Literal["html", "markdown"] = "html"
    state: Literal["visible", "held"] = "visible"
    created_at: Moment


class CountByPost(Body):
    """Query: how many visible comments each of these posts has."""

    post_ids: Ids


class CountByPerson(Body):
    """Query: how many visible comments each of these people has on published posts."""

    person_ids: Ids
