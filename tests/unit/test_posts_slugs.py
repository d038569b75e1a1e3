"""Slugs: validation, and generated slugs that are always valid."""

import unicodedata
from itertools import islice
from uuid import UUID

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from services.chassis.errors import Problem
from services.posts.domain import slugs

ID = UUID("01934a6e-0000-7000-8000-000000000000")


@pytest.mark.parametrize("slug", ["a", "on-letters", "a_b", "επίπεδο-2", "日本語", "हिन्दी", "été", "-", "7", "ß" * 200])
def test_lower_case_letters_and_digits_of_any_script_are_accepted(slug: str) -> None:
    assert slugs.validated(slug) == slug


@pytest.mark.parametrize(
    "slug",
    [
        *("", "A", "É", "a b", "a/b", "a.b", "a%20b", "½", "a\0", "e\u0301", "-\u0301", "\u200bx", "ǅ", "𝐀", "x" * 201),
        str(ID),
        str(ID).upper(),
    ],
)
def test_other_slugs_are_refused_and_the_field_is_named(slug: str) -> None:
    with pytest.raises(Problem) as refusal:
        slugs.validated(slug)
    assert (refusal.value.status, refusal.value.errors[0].field) == (422, "slug")


@pytest.mark.parametrize(
    ("title", "slug"),
    [
        ("Hello, World!", "hello-world"),
        ("Don't stop; it’s fine", "dont-stop-its-fine"),
        ("  C++ & C#  ", "c-c"),
        ("Ἐπίπεδο 2", "ἐπίπεδο-2"),
        ("हिन्दी में", "हिन्दी-में"),
        ("snake_case — kept", "snake_case-kept"),
        ("a\u200db", "ab"),
        (str(ID), f"post-{ID}"),
        ("…", ID.hex),
        ("", ID.hex),
    ],
)
def test_a_slug_is_generated_from_the_title_or_the_id(title: str, slug: str) -> None:
    assert slugs.generated(ID, title) == slug
    assert slugs.validated(slugs.generated(ID, title)) == slug


@for_all(st.text(max_size=300))
def test_generated_slugs_are_always_valid(title: str) -> None:
    assert slugs.as_slug(slugs.validated(slugs.generated(ID, title))) is not None


@for_all(st.text(alphabet="abİß-2" + "\u0301", min_size=1, max_size=250))
def test_numbered_alternatives_are_valid_and_different(title: str) -> None:
    generated = slugs.generated(ID, title)
    several = [slug for batch in islice(slugs.alternatives(generated), 3) for slug in batch]
    assert several[0] == generated
    assert several[1].endswith("-2")
    assert len(set(several)) == len(several)
    for slug in several:
        assert slugs.validated(slug) == slug


def test_the_slug_comes_from_the_first_usable_source() -> None:
    assert slugs.generated(ID, None, "…", "third", "fourth") == "third"


@pytest.mark.parametrize(
    ("stored", "slug"),
    [
        ("%ce%b5%cf%80%ce%af%cf%80%ce%b5%ce%b4%ce%bf-2", "επίπεδο-2"),
        ("plain-one", "plain-one"),
        ("%C3%89t%C3%A9", "été"),
        ("e%cc%81te%cc%81", "été"),
        ("bad%ff%00byte", "bad-byte"),
        ("with/slash", "with-slash"),
        (str(ID), f"post-{ID}"),
    ],
)
def test_a_percent_encoded_slug_is_decoded_and_made_valid(stored: str, slug: str) -> None:
    assert slugs.generated(ID, slugs.decoded(stored)) == slug


def test_a_lone_surrogate_in_a_stored_slug_is_accepted() -> None:
    assert slugs.generated(ID, slugs.decoded("a\ud800b")) == "a-b"


def test_only_the_form_of_a_uuid_is_an_id() -> None:
    assert slugs.as_id(str(ID)) == ID
    assert slugs.as_id(str(ID).upper()) == ID
    assert slugs.as_id(ID.hex) is None
    assert slugs.as_slug(ID.hex) == ID.hex
    assert slugs.as_slug(unicodedata.normalize("NFD", "été")) == "été"
    assert slugs.as_slug("no slug") is None
