"""Text fields: refusals, cleaning and length limits."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.contracts.comments import CreateComment, EditComment
from services.contracts.people import EditMe
from services.contracts.posts import CreatePost, EditPost


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "must not be empty"),
        (" \n\t ", "must not be empty"),
        ("a\0b", "must not contain NUL"),
        ("a\ud800", "must not contain a lone surrogate"),
        ("x" * 101, "must have at most 100 characters"),
        (7, "valid string"),
        (None, "valid string"),
    ],
)
def test_an_invalid_name_is_refused_with_its_reason(name: object, why: str) -> None:
    with pytest.raises(ValidationError, match=why) as refused:
        EditMe.model_validate({"name": name})
    assert refused.value.errors()[0]["loc"] == ("name",)


def test_length_counts_code_points_after_nfc_without_outer_white_space() -> None:
    decomposed = "e\u0301"
    assert EditMe(name="  " + decomposed * 100 + "\n").name == "\u00e9" * 100


def test_a_title_is_one_line_without_bidi_controls() -> None:
    post = CreatePost(title="a\r\nBcc: x\u2028y\u202e z", body="text")
    assert post.title == "a Bcc: x y z"


def test_removed_characters_leave_normal_form() -> None:
    assert EditMe(name="e\u202e\u0301").name == "\u00e9"


def test_a_body_keeps_its_lines() -> None:
    assert CreateComment(body="one\n\ntwo\n").body == "one\n\ntwo"


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("    if x:\n        y()", "    if x:\n        y()"),
        ("\n \t\n    if x:\n        y()\n\n  \n", "    if x:\n        y()"),
        ("\r\n\r\n\tx\r\ny", "\tx\r\ny"),
        ("  x  ", "  x  "),
        (" \n  x \r\n \r\n", "  x "),
        ("\u2003\n\u00a0x", "\u00a0x"),
    ],
)
def test_a_body_keeps_its_indentation(typed: str, kept: str) -> None:
    assert CreateComment(body=typed).body == kept
    assert EditComment(body=typed).body == kept
    assert CreatePost(title="t", body=typed).body == kept
    assert EditPost(body=typed).body == kept


def test_the_length_of_a_body_counts_no_outer_white_space() -> None:
    assert CreateComment(body="  " + "x" * 10_000 + " \n").body == "x" * 10_000, "too long with its indentation"
    assert CreateComment(body="  " + "x" * 9_998).body == "  " + "x" * 9_998
    with pytest.raises(ValidationError, match="at most 10,000"):
        CreateComment(body="x" * 10_001)
    with pytest.raises(ValidationError, match="must not be empty"):
        CreateComment(body=" \n\t ")


def test_unknown_fields_are_refused_by_name() -> None:
    with pytest.raises(ValidationError) as refused:
        CreateComment.model_validate({"body": "x", "approved": True})
    assert refused.value.errors()[0]["loc"] == ("approved",)


def test_a_flag_accepts_booleans_only() -> None:
    with pytest.raises(ValidationError):
        CreatePost.model_validate({"title": "t", "body": "b", "publish": "yes"})


@given(st.text(min_size=1, max_size=400))
def test_accepted_names_are_bounded_normalized_and_encodable(text: str) -> None:
    try:
        name = EditMe(name=text).name
    except ValidationError:
        return
    assert 1 <= len(name) <= 100
    assert name == name.strip()
    assert unicodedata.is_normalized("NFC", name)
    assert not any(unicodedata.category(character) == "Cc" for character in name)
    assert name.encode().decode() == name
