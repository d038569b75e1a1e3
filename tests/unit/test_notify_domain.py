"""Who must hear of a comment, and when a mail must not go."""

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from services.notify.domain import Comment, Reason, concerned
from services.notify.explanations import STATE_TEXTS, WHY_TEXTS, in_words
from services.notify.objections import Answers, CommentNow, Contact, PostNow, objection
from services.notify.rescheduling import LONGEST_RETRY, retry_delay

ANNA, BEN, CARL, DORA = uuid4(), uuid4(), uuid4(), uuid4()
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
NOW = CommentNow("visible", "<p>Hi</p>", False, 1, ())
POST = PostNow("published", "A post", "a-post")
ANSWERS = Answers(
    asked_at=0, contact=Contact("anna@example.com", True, 1), commenter_name="Ben", comment=NOW, post=POST
)


def test_everybody_concerned_has_each_reason_once() -> None:
    assert concerned(COMMENT) == {ANNA: ("reply_to_you",), CARL: ("on_your_post",)}
    assert concerned(replace(COMMENT, parent_author_id=CARL)) == {CARL: ("reply_to_you", "on_your_post")}
    assert concerned(replace(COMMENT, author_id=CARL)) == {ANNA: ("reply_to_you",)}
    assert concerned(replace(COMMENT, parent_author_id=None, author_id=CARL)) == {}


def test_valid_facts_give_no_objection() -> None:
    assert objection(ANSWERS) is None


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        (replace(ANSWERS, comment=None), "comment_removed"),
        (replace(ANSWERS, comment=replace(NOW, state="removed")), "comment_removed"),
        (replace(ANSWERS, comment=replace(NOW, state="held")), "comment_held"),
        (replace(ANSWERS, comment=replace(NOW, state="unheard of")), "comment_removed"),
        (replace(ANSWERS, comment=replace(NOW, imported=True)), "imported"),
        (replace(ANSWERS, post=None), "post_withdrawn"),
        (replace(ANSWERS, post=replace(POST, status="withdrawn")), "post_withdrawn"),
        (replace(ANSWERS, contact=None), "address_not_confirmed"),
        (replace(ANSWERS, contact=Contact("anna@example.com", False, 1)), "address_not_confirmed"),
        (replace(ANSWERS, contact=Contact(None, True, 1)), "address_not_confirmed"),
    ],
)
def test_every_objection_has_a_name(answers: Answers, why: str) -> None:
    assert objection(answers) == why


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


def test_every_reason_has_all_its_words_and_is_told_apart() -> None:
    for reason in Reason:
        assert reason.deed
        assert reason.because
        assert reason.cause
        assert Reason.all_of([reason.value]) == [reason]
    answered = replace(COMMENT, parent_author_id=CARL, followers=(DORA,))
    made = {reason for reasons in concerned(answered).values() for reason in reasons}
    assert made == {reason.value for reason in Reason} - {Reason.UNKNOWN.value}
    assert all(type(name) is str for name in made)
