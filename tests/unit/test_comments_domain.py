"""Rules of comments and of the tree: changes above, representations and the assembly of a page, without a database."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.chassis.errors import Problem
from services.chassis.identity import Caller
from services.chassis.ids import new_id
from services.comments.domain.comment import Comment, Discussion, first_state, ids_of, new_comment, representation
from services.comments.domain.tree import Change, SeenHidden, changes_above, nest

ANN = Caller("gateway", uuid4())
BOB = Caller("gateway", uuid4())
MODERATOR = Caller("gateway", uuid4(), frozenset({"moderator"}))
NOBODY = Caller("gateway")
POST = uuid4()


def comment(parent: Comment | None = None, **fields: Any) -> Comment:
    author_id = ANN.person_id
    assert author_id is not None
    made = new_comment(
        parent,
        id=new_id(),
        post_id=POST,
        author_id=author_id,
        body="*x*",
        format="markdown",
        body_html="<p><em>x</em></p>",
        state=fields.pop("state", "visible"),
        created_at=datetime(2026, 1, 2, 3, 4, 5, 6000, UTC),
    )
    return made._replace(**fields)


def test_a_path_contains_the_ids_from_the_top_level_down() -> None:
    top = comment()
    leaf = comment(middle := comment(top))
    assert ids_of(leaf.path) == [top.id, middle.id, leaf.id]
    assert leaf.ancestors == [top.id, middle.id]
    assert (leaf.depth, leaf.parent_id, leaf.parent_author_id) == (2, middle.id, ANN.person_id)
    assert top.path < middle.path < leaf.path < comment().path


def test_a_visible_reply_changes_only_a_shown_parent() -> None:
    parent, grandparent = comment(), comment()
    assert changes_above([parent, grandparent], added=1, visible=1, shown=1) == [Change(parent.id, 1, 1, 1, True)]


def test_a_held_reply_changes_only_the_count_of_all_replies() -> None:
    parent = comment()
    assert changes_above([parent], added=1) == [Change(parent.id, 1, 0, 0, True)]


def test_a_reply_that_becomes_visible_shows_hidden_comments_above_it() -> None:
    parent, grandparent = (comment(state="removed", shown=False) for _ in range(2))
    root = comment()
    assert changes_above([parent, grandparent, root], visible=1, shown=1) == [
        Change(parent.id, 0, 1, 1, True),
        Change(grandparent.id, 0, 0, 1, True),
        Change(root.id, 0, 0, 1, True),
    ]


def test_hiding_the_last_shown_reply_hides_the_tombstones_without_other_replies() -> None:
    parent = comment(state="held", shown=True, shown_replies=1)
    grandparent = comment(state="removed", shown=True, shown_replies=2)
    assert changes_above([parent, grandparent], visible=-1, shown=-1) == [
        Change(parent.id, 0, -1, -1, False),
        Change(grandparent.id, 0, 0, -1, True),
    ]


def test_no_change_changes_nothing_above() -> None:
    assert changes_above([comment()]) == []


@pytest.mark.parametrize("state", ["visible", "held", "removed"])
def test_the_representation_depends_on_state_and_caller(state: Any) -> None:
    subject = comment(state=state, edited_at=datetime(2026, 1, 2, tzinfo=UTC))
    for who in (ANN, BOB, MODERATOR, NOBODY):
        seen = representation(subject, who)
        whole = who is MODERATOR or state == "visible" or (state == "held" and who is ANN)
        assert seen["state"] == (state if whole else "removed")
        assert (seen["author_id"], seen["body_html"], seen["edited_at"]) == (
            (str(ANN.person_id), "<p><em>x</em></p>", "2026-01-02T00:00:00.000Z") if whole else (None, None, None)
        )
        assert ("body" in seen) == ("format" in seen) == (whole and who in (ANN, MODERATOR))
        assert seen["created_at"] == "2026-01-02T03:04:05.006Z"


def test_the_field_names_of_a_representation() -> None:
    assert list(representation(comment(), NOBODY)) == [
        *("id", "post_id", "parent_id", "depth", "version", "author_id", "body_html", "state", "created_at"),
        *("edited_at", "answered_revision", "reply_count", "replies"),
    ]


def test_a_closed_discussion_refuses_comments() -> None:
    author = uuid4()
    discussion = Discussion(POST, author, "published", "closed")
    with pytest.raises(Problem) as refusal:
        first_state(discussion, author, by_moderator=True)
    assert refusal.value.kind == "discussion-closed"


def test_next_is_set_exactly_when_there_are_more_replies() -> None:
    top = comment(shown_replies=2, all_replies=3)
    first, second = comment(top, shown_replies=1, all_replies=1), comment(top)
    for below, tops_next, firsts_next in (
        ([], True, None),
        ([first], True, True),
        ([first, second], False, True),
    ):
        (seen,) = nest([top], below, NOBODY, SeenHidden())
        assert bool(seen["replies"]["next"]) is tops_next
        assert [bool(reply["replies"]["next"]) for reply in seen["replies"]["items"][:1]] == [firsts_next] * bool(below)
    assert nest([top], [first, second], MODERATOR, SeenHidden())[0]["replies"]["next"], "moderators see a third"
    own = SeenHidden(frozenset({UUID(int=1)}), {top.id: 1})
    assert nest([top], [first, second], ANN, own)[0]["replies"]["next"], "and so does the author of a held one"


def test_a_comment_whose_parent_is_missing_is_left_out() -> None:
    top = comment(shown_replies=1, all_replies=2)
    between = comment(top, state="removed", shown=False)
    own, other = comment(between, state="held"), comment(top)
    (seen,) = nest([top], [own, other], ANN, SeenHidden(frozenset({own.id}), {between.id: 1}))
    assert [reply["id"] for reply in seen["replies"]["items"]] == [str(other.id)]
