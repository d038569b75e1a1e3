"""What a post is and how it may change."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from services.chassis.errors import Problem, invalid, not_found
from services.chassis.identity import Caller
from services.contracts.event import rfc3339
from services.contracts.people import is_admin, is_author
from services.contracts.posts import Discussion, PostFact


@dataclass(frozen=True)
class Post:
    """One post as it is now. `revision` counts its texts, `version` every change of it.

    Attributes:
        published_at: when it was published for the first time; withdrawing does not take it back.
        edited_at: when its text last changed after it had been published.
        imported: it came from another system, and every event about it says so.
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


@dataclass(frozen=True)
class Text:
    """A body together with what is made of it. `body_html` is sanitised and must not be touched again."""

    body: str
    body_html: str
    excerpt: str


def to_millisecond(moment: datetime) -> datetime:
    """The moment in UTC as it is shown, so that lists are ordered by what their readers see."""
    moment = moment.astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def now() -> datetime:
    """This millisecond, UTC."""
    return to_millisecond(datetime.now(UTC))


def require_author(caller: Caller) -> None:
    """Raises `forbidden` unless the caller is an author or admin."""
    if not is_author(caller.roles):
        raise Problem("forbidden", "Only authors may write posts.")


def is_visible(post: Post, caller: Caller) -> bool:
    """Published ones are visible to anybody, others to their author and to admins."""
    return post.status == "published" or is_admin(caller.roles) or post.author_id == caller.person_id


def may_change(post: Post, caller: Caller) -> bool:
    """Its author may change a post while being an author; an admin always may."""
    return is_admin(caller.roles) or (is_author(caller.roles) and post.author_id == caller.person_id)


def to_change(post: Post | None, caller: Caller) -> Post:
    """The post, if the caller may change it.

    Raises:
        Problem: `not-found` when it is absent or hidden from the caller, `forbidden` when it is only seen.
    """
    if post is None or not is_visible(post, caller):
        raise not_found()
    if not may_change(post, caller):
        raise Problem("forbidden", "Only its author, as long as being one, and admins may change a post.")
    return post


def edited(
    post: Post, *, title: str | None, text: Text | None, note: str | None, discussion: Discussion | None, at: datetime
) -> Post:
    """The post with what is given changed; the same object when nothing does.

    Raises:
        Problem: `invalid` for a note about a text that stays the same.
    """
    rewritten = (title is not None and title != post.title) or (text is not None and text.body != post.body)
    if note is not None and not rewritten:
        raise invalid("edit_note", "must come with a changed title or body")
    changed = replace(post, discussion=discussion or post.discussion)
    if rewritten:
        changed = replace(changed, title=post.title if title is None else title, revision=post.revision + 1)
        if text is not None and text.body != post.body:
            changed = replace(changed, body=text.body, body_html=text.body_html, excerpt=text.excerpt)
        if post.published_at is not None:
            changed = replace(changed, edited_at=at, edit_note=note)
    return post if changed == post else replace(changed, version=post.version + 1)


def published(post: Post, at: datetime) -> Post:
    """The post published; the same object when it is already."""
    if post.status == "published":
        return post
    return replace(post, status="published", published_at=post.published_at or at, version=post.version + 1)


def withdrawn(post: Post) -> Post:
    """The post withdrawn; the same object when it is already.

    Raises:
        Problem: `wrong-state` for a draft, which nobody has seen yet.
    """
    if post.status == "draft":
        raise Problem("wrong-state", "A draft is not published, so it cannot be withdrawn.")
    return post if post.status == "withdrawn" else replace(post, status="withdrawn", version=post.version + 1)


def fact(kind: type[PostFact], post: Post, at: datetime) -> PostFact:
    """The event of that kind about the post as it is now."""
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
    )


def representation(post: Post) -> dict[str, Any]:
    """The post as this service tells it: the author by id, no names, no address of a page."""
    return {
        "id": str(post.id),
        "kind": post.kind,
        "slug": post.slug,
        "title": post.title,
        "body": post.body,
        "format": post.format,
        "body_html": post.body_html,
        "excerpt": post.excerpt,
        "author_id": str(post.author_id),
        "status": post.status,
        "discussion": post.discussion,
        "created_at": rfc3339(post.created_at),
        "published_at": rfc3339(post.published_at) if post.published_at else None,
        "edited_at": rfc3339(post.edited_at) if post.edited_at else None,
        "edit_note": post.edit_note,
        "revision": post.revision,
        "version": post.version,
    }
