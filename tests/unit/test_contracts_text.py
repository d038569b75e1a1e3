"""Text fields: refusals, cleaning and length limits."""

import json
import unicodedata
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.contracts.body_sizes import BODY_BYTES, FORM_BYTES, POST_BYTES
from services.contracts.comments import CreateComment, EditComment, ImportComment
from services.contracts.people import EditMe, ImportPerson, Register, SignIn
from services.contracts.posts import CreatePost, EditPost, ImportPost

ENGLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "must not be empty"),
        (" \n\t ", "must not be empty"),
        ("a\0b", "must not contain NUL"),
        ("a\ud800", "must not contain a lone surrogate"),
        ("x" * 101, "must have at most 100 characters"),
        (7, "valid string"),
        (None, "must not be null"),
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


@pytest.mark.parametrize(
    "blank", ["\u200b", "\u2800", "\u3164", "\u00ad", "\u2060", "\u115f", "\u200f", "\ufe0f \U000e0100"]
)
def test_what_people_see_has_a_visible_character(blank: str) -> None:
    for field, validate in (
        ("name", lambda: Register.model_validate({"name": blank, "email": "a@example.org"})),
        ("name", lambda: EditMe.model_validate({"name": blank})),
        ("title", lambda: CreatePost.model_validate({"title": blank, "body": "b"})),
        ("title", lambda: EditPost.model_validate({"title": blank})),
        ("edit_note", lambda: EditPost.model_validate({"edit_note": blank})),
    ):
        with pytest.raises(ValidationError, match="must have a visible character") as refused:
            validate()
        assert refused.value.errors()[0]["loc"] == (field,)
    assert EditMe(name=f"a{blank}b").name == f"a{blank}b"


def test_an_imported_name_or_title_that_shows_nothing_is_none() -> None:
    """Pages and mails have a word in its place."""
    base = {"site": "s", "source_id": "1", "author_id": uuid4(), "created_at": "2026-11-23T04:35:00Z"}
    assert ImportPost.model_validate(base | {"title": "\u200b\u2800"}).title == ""
    assert ImportPerson(site="s", name="\u3164").name == ""


@pytest.mark.parametrize("unwanted", ["\u202e", "\u2067", "\ufdd0", "\ufffe", "\U0010ffff", "\U000e0041", "\ufeff"])
def test_unwanted_characters_are_taken_out_of_all_that_people_read(unwanted: str) -> None:
    text, kept = f"e{unwanted}\u0301 {ENGLAND}\u200f!", f"\u00e9 {ENGLAND}\u200f!"
    post = CreatePost(title=text, body=text)
    assert (post.title, post.body) == (kept, kept)
    assert EditPost(edit_note=text).edit_note == kept
    assert EditMe(name=text).name == kept
    assert CreateComment(body=text).body == kept
    base = {"site": "s", "source_id": "1", "author_id": uuid4(), "created_at": "2026-11-23T04:35:00Z"}
    imported = ImportPost.model_validate(base | {"title": text, "body": text, "excerpt": text})
    assert (imported.title, imported.body, imported.excerpt) == (kept, kept, kept)
    assert ImportComment.model_validate(base | {"post_id": uuid4(), "body": text}).body == kept
    assert ImportPerson(site="s", name=text).name == kept


def test_nothing_is_taken_out_of_what_is_compared() -> None:
    with pytest.raises(ValidationError, match="must not contain a non-character"):
        SignIn(email="a\ufffe@example.org")
    with pytest.raises(ValidationError, match="must not contain a non-character"):
        ImportPerson(site="s\ufdd0")


GREEK, HANGUL = "\u03b1\u0313\u0301\u0345", "\u1112\u1161\u11ab"  # 4 and 3 code points that NFC makes one


@pytest.mark.parametrize("letter", ["я", "日", "😀", "\U000110a5\U000110ba", GREEK, HANGUL])
def test_the_longest_texts_in_any_spelling_are_within_the_limits_of_bytes(letter: str) -> None:
    post = {"title": letter * 300, "body": letter * 60_000, "edit_note": letter * 500}
    assert EditPost(**post).body == unicodedata.normalize("NFC", letter) * 60_000
    assert len(json.dumps(post, indent=4)) < POST_BYTES
    comment = {"body": letter * 10_000, "parent_id": str(uuid4())}
    assert CreateComment.model_validate(comment)
    assert len(json.dumps(comment, indent=4)) < BODY_BYTES
    assert len(urlencode(comment | {"key": uuid4(), "post_id": uuid4()})) < FORM_BYTES


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
        assert name is not None
    except ValidationError:
        return
    assert 1 <= len(name) <= 100
    assert name == name.strip()
    assert unicodedata.is_normalized("NFC", name)
    assert not any(unicodedata.category(character) == "Cc" for character in name)
    assert name.encode().decode() == name
