"""Who must hear of a comment, and when a mail must not go."""

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from services.notify.domain import (
    LONGEST_RETRY,
    STATE_TEXTS,
    WHY_TEXTS,
    Comment,
    CommentNow,
    Contact,
    Facts,
    PostNow,
    concerned,
    in_words,
    objection,
    retry_delay,
)

ANNA, BEN, CARL = uuid4(), uuid4(), uuid4()
COMMENT = Comment(
    comment_id=uuid4(),
    post_id=uuid4(),
    post_author_id=CARL,
    parent_id=uuid4(),
    parent_author_id=ANNA,
    author_id=BEN,
    state="visible",
    imported=False,
    version=1,
)
NOW = CommentNow("visible", "<p>Hi</p>", False, 1, None, ())
POST = PostNow("published", "A post", "a-post")
FACTS = Facts(asked_at=0, contact=Contact("anna@example.com", True, 1), commenter="Ben", comment=NOW, post=POST)


def test_everybody_concerned_has_each_reason_once() -> None:
    assert concerned(COMMENT) == {ANNA: ("reply_to_you",), CARL: ("on_your_post",)}
    assert concerned(replace(COMMENT, parent_author_id=CARL)) == {CARL: ("reply_to_you", "on_your_post")}
    assert concerned(replace(COMMENT, author_id=CARL)) == {ANNA: ("reply_to_you",)}
    assert concerned(replace(COMMENT, parent_author_id=None, author_id=CARL)) == {}


def test_valid_facts_give_no_objection() -> None:
    assert objection(FACTS) is None


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        (replace(FACTS, comment=None), "comment_removed"),
        (replace(FACTS, comment=replace(NOW, state="removed")), "comment_removed"),
        (replace(FACTS, comment=replace(NOW, state="held")), "comment_held"),
        (replace(FACTS, comment=replace(NOW, state="unheard of")), "comment_removed"),
        (replace(FACTS, comment=replace(NOW, imported=True)), "imported"),
        (replace(FACTS, post=None), "post_withdrawn"),
        (replace(FACTS, post=replace(POST, status="withdrawn")), "post_withdrawn"),
        (replace(FACTS, contact=None), "address_not_confirmed"),
        (replace(FACTS, contact=Contact("anna@example.com", False, 1)), "address_not_confirmed"),
        (replace(FACTS, contact=Contact(None, True, 1)), "address_not_confirmed"),
    ],
)
def test_every_objection_has_a_name(facts: Facts, why: str) -> None:
    assert objection(facts) == why


def test_retry_delays_grow_up_to_a_bound() -> None:
    first = timedelta(seconds=30)
    assert retry_delay(None, first) == first
    waited, delays = timedelta(0), []
    while waited < timedelta(days=4):
        delays.append(retry_delay(waited, first))
        waited += delays[-1]
    assert delays == sorted(delays)
    assert delays[0] == first
    assert delays[-1] == LONGEST_RETRY
    assert len(delays) < 100
    assert retry_delay(timedelta(minutes=30), first) < timedelta(minutes=10)


def test_every_end_has_a_sentence() -> None:
    for state in STATE_TEXTS:
        for why in (None, *WHY_TEXTS, "something new"):
            text = in_words(state, why, ("reply_to_you", "on_your_post", "something_new"))
            assert text.endswith(".")
            assert "{" not in text
    assert "unsubscribed" not in in_words("skipped", "unsubscribed", ("reply_to_you",))
