"""The time at which a draft is to be published: what is taken, and what is refused."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from pydantic import ValidationError

from services.chassis.errors import Problem
from services.contracts.posts import CreatePost
from services.posts.domain.post import Post, published, representation
from services.posts.domain.scheduling import scheduled, time_ahead

NOW = datetime(2028, 2, 29, 12, tzinfo=UTC)
SOON = NOW + timedelta(hours=1)
DRAFT = Post(
    id=uuid4(),
    kind="post",
    slug="beans",
    title="Beans",
    body="Sow.",
    format="markdown",
    body_html="<p>Sow.</p>",
    excerpt="Sow.",
    author_id=uuid4(),
    status="draft",
    discussion="open",
    created_at=NOW,
)


def test_a_scheduled_draft_says_so_outwards_and_stays_a_draft_inside() -> None:
    post = scheduled(DRAFT, SOON, NOW)
    assert (post.status, post.version) == ("draft", 1)
    assert (representation(post)["status"], representation(post)["publish_at"]) == (
        "scheduled",
        "2028-02-29T13:00:00.000Z",
    )
    back = scheduled(post, None, NOW)
    assert (representation(back)["status"], representation(back)["publish_at"]) == ("draft", None)


def test_publication_ends_the_schedule() -> None:
    post = published(scheduled(DRAFT, SOON, NOW), SOON)
    assert (post.publish_at, post.published_at) == (None, SOON)


def test_a_time_that_a_former_version_left_in_a_published_post_is_not_shown() -> None:
    post = replace(DRAFT, status="published", published_at=NOW, publish_at=SOON)
    assert (representation(post)["status"], representation(post)["publish_at"]) == ("published", None)


@pytest.mark.parametrize("publish_at", [NOW + timedelta(milliseconds=1), datetime(2033, 2, 28, 12, tzinfo=UTC)])
def test_the_bounds_are_taken(publish_at: datetime) -> None:
    assert time_ahead(publish_at, NOW) == publish_at


@pytest.mark.parametrize(
    "publish_at", [NOW, datetime(2033, 2, 28, 12, 0, 1, tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
)
def test_what_does_not_lie_ahead_or_too_far_is_refused(publish_at: datetime) -> None:
    with pytest.raises(Problem) as refusal:
        time_ahead(publish_at, NOW)
    assert (refusal.value.kind, refusal.value.errors[0].field) == ("invalid", "publish_at")


def test_a_repetition_after_the_time_changes_nothing() -> None:
    post = scheduled(DRAFT, SOON, NOW)
    assert scheduled(post, SOON, SOON + timedelta(minutes=1)) is post


@pytest.mark.parametrize("status", ["published", "withdrawn"])
@pytest.mark.parametrize("publish_at", [SOON, None])
def test_only_drafts_have_a_time(status: Any, publish_at: datetime | None) -> None:
    with pytest.raises(Problem) as refusal:
        scheduled(replace(DRAFT, status=status, published_at=NOW), publish_at, NOW)
    assert refusal.value.kind == "wrong-state"


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("2028-02-29T13:00:00Z", SOON),
        ("2028-02-29t14:00:00.000000000+01:00", SOON),
        (" 2028-02-29T12:00:00-01:00 ", SOON),
    ],
)
def test_a_time_is_read_in_its_zone(sent: str, meant: datetime) -> None:
    assert CreatePost.model_validate({"title": "x", "body": "y", "publish_at": sent}).publish_at == meant


@pytest.mark.parametrize(
    "sent",
    [
        1900000000,
        "1900000000",
        "2028-02-29",
        "2028-02-29T13:00:00",
        "2028-02-31T13:00:00Z",
        "2028-02-29T13:00:00+99:00",
        "",
        True,
        [],
    ],
)
def test_what_is_no_time_in_a_zone_is_refused(sent: object) -> None:
    with pytest.raises(ValidationError, match="must be a time with its zone"):
        CreatePost.model_validate({"title": "x", "body": "y", "publish_at": sent})
