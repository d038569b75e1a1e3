"""Rules of posts: changes, and who may make them."""

import contextlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.errors import Problem
from services.chassis.identity import Caller
from services.contracts.posts import PostEdited
from services.posts.domain import post as rules
from services.posts.domain.post import Post, Text

AUTHOR = UUID("01934a6e-0000-7000-8000-00000000000a")
ID = uuid4()
EARLIER = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
NOW = EARLIER + timedelta(days=1)

DRAFT = Post(
    id=uuid4(),
    kind="post",
    slug="a-post",
    title="A post",
    body="Text.",
    format="markdown",
    body_html="<p>Text.</p>\n",
    excerpt="Text.",
    author_id=AUTHOR,
    status="draft",
    discussion="open",
    created_at=EARLIER,
)
PUBLISHED = replace(DRAFT, status="published", published_at=EARLIER, version=2)
WITHDRAWN = replace(PUBLISHED, status="withdrawn", version=3)
OTHER_TEXT = Text("Other.", "<p>Other.</p>\n", "Other.")


def edited(post: Post, **changes: object) -> Post:
    fields = {"title": None, "text": None, "note": None, "discussion": None, "at": NOW} | changes
    return rules.edited(post, **fields)  # type: ignore[arg-type]  # a table of changes


def caller(*roles: str, person_id: UUID | None = AUTHOR) -> Caller:
    return Caller("gateway", person_id, frozenset(roles))


def test_a_changed_text_is_a_new_revision_and_version() -> None:
    post = edited(PUBLISHED, text=OTHER_TEXT)
    assert (post.body, post.body_html, post.excerpt) == ("Other.", "<p>Other.</p>\n", "Other.")
    assert (post.revision, post.version) == (2, 3)
    assert edited(WITHDRAWN, title="New").revision == 2


def test_until_it_is_published_a_changed_text_has_the_same_number_and_another_id() -> None:
    once = edited(DRAFT, text=OTHER_TEXT)
    twice = edited(once, title="New")
    assert [(post.revision, post.version) for post in (DRAFT, once, twice)] == [(1, 1), (1, 2), (1, 3)]
    assert len({DRAFT.text, once.text, twice.text, edited(DRAFT, text=OTHER_TEXT).text}) == 4
    assert rules.published(twice, NOW).text == edited(twice, discussion="closed").text == twice.text
    assert rules.fact(PostEdited, twice, NOW).text_id == twice.text


def test_a_text_without_an_id_is_named_by_its_post_and_number() -> None:
    others = [replace(DRAFT, revision=2), replace(DRAFT, id=uuid4()), DRAFT]
    assert [post.text == DRAFT.text for post in others] == [False, False, True]


def test_former_texts_are_taken_away_by_the_author_in_whatever_role_and_by_admins() -> None:
    assert rules.may_blank(PUBLISHED, caller())
    assert rules.may_blank(PUBLISHED, caller("admin", person_id=uuid4()))
    assert not rules.may_blank(PUBLISHED, caller("author", "moderator", person_id=uuid4()))
    assert not rules.may_blank(PUBLISHED, caller(person_id=None))


def test_a_post_without_its_text_is_public_no_more() -> None:
    post = rules.without_text(replace(PUBLISHED, edit_note="Why", has_own_excerpt=True))
    assert (post.status, post.version, post.revision) == ("withdrawn", 3, 1)
    assert not any((post.title, post.body, post.body_html, post.excerpt, post.edit_note))
    assert post.text != PUBLISHED.text
    assert rules.without_text(DRAFT).status == "draft"


def test_only_published_posts_are_marked_as_edited() -> None:
    assert edited(DRAFT, text=OTHER_TEXT, note="Clearer").edited_at is None
    assert edited(DRAFT, text=OTHER_TEXT, note="Clearer").edit_note is None
    for post in (PUBLISHED, WITHDRAWN):
        after = edited(post, title="New", note="Clearer")
        assert (after.edited_at, after.edit_note) == (NOW, "Clearer")


def test_an_edit_without_a_note_removes_the_old_note() -> None:
    assert edited(replace(PUBLISHED, edit_note="Old"), title="New").edit_note is None


def test_the_same_text_changes_nothing() -> None:
    same = Text(PUBLISHED.body, "<p>rendered otherwise</p>", "otherwise")
    assert edited(PUBLISHED, title="A post", text=same) is PUBLISHED
    assert edited(PUBLISHED) is PUBLISHED


@pytest.mark.parametrize("changes", [{}, {"title": "A post"}, {"discussion": "closed"}])
def test_a_note_needs_a_changed_text(changes: dict[str, object]) -> None:
    with pytest.raises(Problem) as refusal:
        edited(PUBLISHED, note="Why", **changes)
    assert (refusal.value.status, refusal.value.errors[0].field) == (422, "edit_note")


def test_closing_the_discussion_is_a_new_version_but_no_revision() -> None:
    post = edited(PUBLISHED, discussion="closed")
    assert (post.discussion, post.revision, post.version) == ("closed", 1, 3)
    assert post.edited_at is None


def test_published_at_is_set_once() -> None:
    assert rules.published(DRAFT, NOW).published_at == NOW
    again = rules.published(WITHDRAWN, NOW)
    assert (again.status, again.published_at, again.version) == ("published", EARLIER, 4)


def test_publishing_and_withdrawing_twice_changes_nothing() -> None:
    assert rules.published(PUBLISHED, NOW) is PUBLISHED
    assert rules.withdrawn(WITHDRAWN) is WITHDRAWN
    assert rules.withdrawn(PUBLISHED).status == "withdrawn"


def test_a_draft_cannot_be_withdrawn() -> None:
    with pytest.raises(Problem, match="wrong-state"):
        rules.withdrawn(DRAFT)


@pytest.mark.parametrize("post", [DRAFT, WITHDRAWN])
def test_unpublished_posts_are_visible_to_author_and_admins_only(post: Post) -> None:
    assert rules.is_visible(post, caller())
    assert rules.is_visible(post, caller("admin", person_id=uuid4()))
    assert not rules.is_visible(post, caller("author", "moderator", person_id=uuid4()))
    assert not rules.is_visible(post, caller(person_id=None))
    assert rules.is_visible(PUBLISHED, caller(person_id=None))


def test_the_author_may_change_a_post_only_with_the_author_role() -> None:
    assert rules.require_changeable(PUBLISHED, caller("author")) is PUBLISHED
    assert rules.require_changeable(DRAFT, caller("admin", person_id=uuid4())) is DRAFT
    for post, who in ((PUBLISHED, caller("reader")), (DRAFT, caller()), (PUBLISHED, caller("author", person_id=ID))):
        with pytest.raises(Problem, match="forbidden"):
            rules.require_changeable(post, who)


def test_a_hidden_post_is_answered_like_a_missing_one() -> None:
    answers = []
    for post in (None, DRAFT, WITHDRAWN):
        with pytest.raises(Problem) as refusal:
            rules.require_changeable(post, caller("author", person_id=ID))
        answers.append((refusal.value.kind, refusal.value.detail))
    assert answers == [answers[0]] * 3
    assert answers[0][0] == "not-found"


def test_times_are_stored_with_the_shown_precision() -> None:
    moment = datetime(2026, 1, 1, 13, 0, 0, 123999, tzinfo=timezone(timedelta(hours=1)))
    assert rules.to_millisecond(moment) == datetime(2026, 1, 1, 12, 0, 0, 123000, tzinfo=UTC)


def test_the_event_carries_structure_and_no_text() -> None:
    event = rules.fact(PostEdited, replace(PUBLISHED, imported=True), NOW)
    assert event.imported
    assert (event.status, event.version, event.revision, event.discussion) == ("published", 2, 1, "open")
    assert "Text" not in event.model_dump_json()
    assert "a-post" not in event.model_dump_json()


def test_the_representation_has_every_field_and_no_name() -> None:
    shown = rules.representation(DRAFT)
    assert shown["published_at"] is None
    assert shown["created_at"] == "2026-01-01T12:00:00.000Z"
    assert set(shown) == {
        *("id", "kind", "slug", "title", "body", "format", "body_html", "excerpt", "author_id", "status"),
        *("discussion", "created_at", "published_at", "edited_at", "edit_note", "revision", "version", "epoch"),
        *("cover", "tags", "word_count", "publish_at", "has_own_excerpt"),
    }


STEPS = st.sampled_from(["publish", "withdraw", "title", "body", "discussion", "nothing"])


@given(st.lists(st.tuples(STEPS, st.integers(0, 2)), max_size=30))
def test_versions_count_changes_and_dates_stay(steps: list[tuple[str, int]]) -> None:
    post = DRAFT
    for number, (step, value) in enumerate(steps):
        before, at = post, NOW + timedelta(minutes=number)
        with contextlib.suppress(Problem):
            post = taken(post, step, value, at)
        assert (post is before) == (post == before)
        assert post.version == before.version + (post is not before)
        is_changed = (post.title, post.body) != (before.title, before.body)
        assert post.revision == before.revision + (is_changed and before.published_at is not None)
        assert (post.text != before.text) == is_changed
        assert before.published_at in (None, post.published_at)
        assert (post.published_at is None) == (post.status == "draft")
        if post.edited_at != before.edited_at:
            assert post.revision > before.revision
            assert before.published_at is not None


def taken(post: Post, step: str, value: int, at: datetime) -> Post:
    match step:
        case "publish":
            return rules.published(post, at)
        case "withdraw":
            return rules.withdrawn(post)
        case "title":
            return edited(post, title=f"Title {value}", at=at)
        case "body":
            return edited(post, text=Text(f"{value}", "", ""), note="Why", at=at)
        case "discussion":
            return edited(post, discussion=("open", "held", "closed")[value], at=at)
    return edited(post, at=at)
