"""The addresses of our pages, as services write them into pages and mails."""

from urllib.parse import quote
from uuid import UUID


def post_path(slug: str) -> str:
    """Return the path of a post's page; the slug percent-encoded."""
    return "/posts/" + quote(slug, safe="")


def tag_path(tag: str) -> str:
    """Return the path of the page of a tag; the tag percent-encoded."""
    return "/tags/" + quote(tag, safe="")


def person_path(person_id: UUID | str) -> str:
    """Return the path of the page of a person."""
    return f"/people/{person_id}"


def image_path(image_id: UUID | str) -> str:
    """Return the path of a picture of a post."""
    return f"/images/{image_id}.webp"


def avatar_path(person_id: UUID | str, digest: str) -> str:
    """Return the path of a person's picture; another picture has another one."""
    return f"/avatars/{person_id}-{digest}.webp"


def comment_path(slug: str, comment_id: UUID | str) -> str:
    """Return the address of a comment on its post's page, which shows it wherever in the discussion it stands.

    The fragment alone would not reach the server, and the page would show only the beginning of a long discussion.
    """
    return f"{post_path(slug)}?comment={comment_id}#c-{comment_id}"
