"""A post and the rules of its changes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID, uuid5

from services.chassis.errors import Problem, invalid, not_found
from services.chassis.identity import Caller
from services.chassis.ids import new_id
from services.chassis.text.html_to_text import excerpt
from services.contracts.event import rfc3339
from services.contracts.people import is_admin, is_author
from services.contracts.posts import Discussion, PostFact
from services.posts.domain.word_count import word_count

EXCERPT = 200  # characters


@dataclass(frozen=True)
class Post:
    """The present state of one post. `revision` counts its texts, `version` all its changes.

    Attributes:
        published_at: time of the first publication; withdrawing keeps it.
        edited_at: time of the last change of its text after the first publication.
        imported: whether it was imported; every event about it says so.
        epoch: the present one of the database, in which `version` counts.
        cover: the picture that stands for it.
        has_own_excerpt: whether the excerpt was written; else it was made of the text, and follows it.
        tags: in their order, as they are spelt.
        word_count: of the text; None until `rapport rerender` has counted those that are older than the count.
        publish_at: when it is to be published; it means nothing unless `is_scheduled`.
        text_id: None for the text that it was created with, and for those that are older than such ids.
    """

    id: UUID
    kind: Literal["post", "page"]
    slug: str
    title: str
    body: str
    format: Literal["markdown", "html"]
    body_html: str
    excerpt: str
    author_id: UUID
    status: Literal["draft", "published", "withdrawn"]
    discussion: Discussion
    created_at: datetime
    published_at: datetime | None = None
    edited_at: datetime | None = None
    edit_note: str | None = None
    revision: int = 1
    version: int = 1
    imported: bool = False
    epoch: int = 0
    cover: UUID | None = None
    has_own_excerpt: bool = False
    tags: Sequence[str] = ()
    word_count: int | None = None
    publish_at: datetime | None = None
    text_id: UUID | None = None

    @property
    def is_scheduled(self) -> bool:
        """Whether it is a draft that is to be published at a time. Former versions left the time where it was."""
        return self.status == "draft" and self.publish_at is not None

    @property
    def text(self) -> UUID:
        """Return what names its text: no other one has had that, of whatever post and at whatever time."""
        return id_of_text(self.id, self.revision, self.text_id)


@dataclass(frozen=True)
class Text:
    """A body with its derived values. `body_html` is sanitised and must not be changed again."""

    body: str
    body_html: str
    excerpt: str
    word_count: int = 0

    @classmethod
    def of(cls, body: str, body_html: str) -> "Text":
        """Return a body with what is derived from its HTML."""
        return cls(body, body_html, excerpt(body_html, EXCERPT), word_count(body_html))


def id_of_text(post_id: UUID, revision: int, text_id: UUID | None) -> UUID:
    """Return the id of a text; that of one that has none follows from its number."""
    return text_id or uuid5(post_id, str(revision))


def to_millisecond(moment: datetime) -> datetime:
    """Return the moment in UTC in the precision that is shown, so that lists are ordered as their readers see them."""
    moment = moment.astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def now() -> datetime:
    """Return the present time in UTC, in milliseconds."""
    return to_millisecond(datetime.now(UTC))


def require_author(caller: Caller) -> None:
    """Check that the caller may write posts.

    Raises:
        Problem: `forbidden` unless the caller is an author or an admin.
    """
    if not is_author(caller.roles):
        raise Problem("forbidden", "Only authors may write posts.")


def is_visible(post: Post, caller: Caller) -> bool:
    """Return whether the caller may read the post: unless published, only its author and admins may."""
    return post.status == "published" or is_admin(caller.roles) or post.author_id == caller.person_id


def may_change(post: Post, caller: Caller) -> bool:
    """Return whether the caller may change the post: its author while having that role, and any admin."""
    return is_admin(caller.roles) or (is_author(caller.roles) and post.author_id == caller.person_id)


def may_blank(post: Post, caller: Caller) -> bool:
    """Return whether the caller may take away former texts of the post: its author and any admin."""
    return is_admin(caller.roles) or post.author_id == caller.person_id


def require_changeable(post: Post | None, caller: Caller) -> Post:
    """Return the post if the caller may change it.

    Raises:
        Problem: `not-found` when it does not exist or the caller may not read it, `forbidden` when they may only read.
    """
    if post is None or not is_visible(post, caller):
        raise not_found()
    if not may_change(post, caller):
        raise Problem("forbidden", "Only its author, while having the role of an author, and admins may change a post.")
    return post


def edited(
    post: Post, *, title: str | None, text: Text | None, note: str | None, discussion: Discussion | None, at: datetime
) -> Post:
    """Return the post with the given values; the same object when nothing changes.

    A changed text is a new revision. Until it is published first it is still the same one: nobody has read it.

    Raises:
        Problem: `invalid` for a note without a changed text.
    """
    rewritten = (title is not None and title != post.title) or (text is not None and text.body != post.body)
    if note is not None and not rewritten:
        raise invalid("edit_note", "must come with a changed title or body")
    changed = replace(post, discussion=discussion or post.discussion)
    if rewritten:
        changed = replace(changed, title=post.title if title is None else title, text_id=new_id())
        if text is not None and text.body != post.body:
            changed = replace(changed, body=text.body, body_html=text.body_html, word_count=text.word_count)
            changed = changed if post.has_own_excerpt else replace(changed, excerpt=text.excerpt)
        if post.published_at is not None:
            changed = replace(changed, revision=post.revision + 1, edited_at=at, edit_note=note)
    return post if changed == post else replace(changed, version=post.version + 1)


def with_excerpt(post: Post, written: str | None) -> Post:
    """Return the post with this excerpt; with that of its text for None."""
    made = excerpt(post.body_html, EXCERPT) if written is None else written
    return replace(post, excerpt=made, has_own_excerpt=written is not None)


def published(post: Post, at: datetime) -> Post:
    """Return the post as published; the same object when it is already."""
    if post.status == "published":
        return post
    return replace(
        post, status="published", published_at=post.published_at or at, publish_at=None, version=post.version + 1
    )


def withdrawn(post: Post) -> Post:
    """Return the post as withdrawn; the same object when it is already.

    Raises:
        Problem: `wrong-state` for a draft, scheduled or not.
    """
    if post.is_scheduled:
        raise Problem("wrong-state", "A scheduled post is not published yet: take its time back instead.")
    if post.status == "draft":
        raise Problem("wrong-state", "A draft is not published, so it cannot be withdrawn.")
    return post if post.status == "withdrawn" else replace(post, status="withdrawn", version=post.version + 1)


def without_text(post: Post) -> Post:
    """Return the post without the text that it has, for nobody to read: its author had taken it away."""
    blank = replace(post, title="", body="", body_html="", excerpt="", has_own_excerpt=False, word_count=0)
    blank = replace(blank, text_id=new_id(), edit_note=None, publish_at=None, version=post.version + 1)
    return replace(blank, status="withdrawn") if blank.status == "published" else blank


def fact(kind: type[PostFact], post: Post, at: datetime) -> PostFact:
    """Return the event of that kind about the post in its present state."""
    return kind(
        post_id=post.id,
        author_id=post.author_id,
        kind=post.kind,
        status=post.status,
        discussion=post.discussion,
        version=post.version,
        revision=post.revision,
        occurred_at=at,
        imported=post.imported,
        text_id=post.text,
    )


def representation(post: Post) -> dict[str, Any]:
    """Return the post as JSON for other services, with its author's id; the gateway adds name and URL."""
    return {
        "id": str(post.id),
        "kind": post.kind,
        "slug": post.slug,
        "title": post.title,
        "body": post.body,
        "format": post.format,
        "body_html": post.body_html,
        "excerpt": post.excerpt,
        "has_own_excerpt": post.has_own_excerpt,
        "author_id": str(post.author_id),
        "status": "scheduled" if post.is_scheduled else post.status,
        "discussion": post.discussion,
        "created_at": rfc3339(post.created_at),
        "published_at": rfc3339(post.published_at) if post.published_at else None,
        "edited_at": rfc3339(post.edited_at) if post.edited_at else None,
        "edit_note": post.edit_note,
        "revision": post.revision,
        "cover": str(post.cover) if post.cover else None,
        "tags": list(post.tags),
        "word_count": post.word_count,
        "publish_at": rfc3339(post.publish_at) if post.is_scheduled and post.publish_at else None,
        "version": post.version,
        "epoch": post.epoch,
    }
