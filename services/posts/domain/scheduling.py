"""The rules of the time at which a draft is to be published."""

from dataclasses import replace
from datetime import datetime

from services.chassis.errors import Problem, invalid
from services.posts.domain.post import Post, to_millisecond

MOST_YEARS = 5


def scheduled(post: Post, publish_at: datetime | None, at: datetime) -> Post:
    """Return the draft with that time of its publication, none for None; its version stays.

    The time that it has already is taken even when it has passed: a repeated request changes nothing.

    Raises:
        Problem: `wrong-state` for a post that was published before, `invalid` for a time that does not lie ahead, or
            more than `MOST_YEARS`.
    """
    if post.status != "draft":
        raise Problem("wrong-state", "Only a draft can be published at a time, and this post was published before.")
    if publish_at == post.publish_at:
        return post
    return replace(post, publish_at=None if publish_at is None else time_ahead(publish_at, at))


def unscheduled(post: Post) -> Post:
    """Return the scheduled draft without its time."""
    return replace(post, publish_at=None, version=post.version + 1)


def time_ahead(publish_at: datetime, at: datetime) -> datetime:
    """Return a time of publication in the precision that is shown.

    Raises:
        Problem: `invalid` when it does not lie ahead, or more than `MOST_YEARS`.
    """
    if not at < publish_at <= _latest(at):
        raise invalid("publish_at", f"must lie ahead, by {MOST_YEARS} years at most")
    return to_millisecond(publish_at)


def _latest(at: datetime) -> datetime:
    try:
        return at.replace(year=at.year + MOST_YEARS)
    except ValueError:  # the 29th of February
        return at.replace(year=at.year + MOST_YEARS, day=28)
