"""Tags, and the number of words of a text."""

from typing import Any

import pytest
from pydantic import ValidationError

from services.contracts.posts import CreatePost
from services.contracts.tags import folded, without_doubles
from services.posts.domain.word_count import word_count


def tags_of(*tags: Any) -> list[str]:
    return CreatePost(title="x", body="y", tags=list(tags)).tags


def test_a_tag_keeps_its_case_and_comes_in_normal_form() -> None:
    assert tags_of("  Ka\ufb01a ", "Cafe\u0301", "two   words") == ["Ka\ufb01a", "Caf\u00e9", "two words"]
    assert tags_of("x" * 50, *"abcdefghi") == ["x" * 50, *"abcdefghi"]


@pytest.mark.parametrize(
    "tag", ["", "  ", "\u200b", "x" * 51, "a/b", "a,b", "a\tb", "a\nb", "a\u2028b", "a\0", ".", "..", 1, None]
)
def test_what_is_no_tag_is_refused(tag: Any) -> None:
    with pytest.raises(ValidationError):
        tags_of(tag)


def test_eleven_tags_are_too_many() -> None:
    with pytest.raises(ValidationError):
        tags_of(*"abcdefghijk")


def test_tags_are_compared_folded_and_the_first_spelling_stays() -> None:
    assert folded("STRASSE") == folded("straße")
    assert folded("É") == folded("é")
    assert without_doubles(["Kafka", "b", "KAFKA", "c"]) == ["Kafka", "b", "c"]


@pytest.mark.parametrize(
    ("html", "words"),
    [
        ("", 0),
        ("<p>One two, three.</p>\n<p>four</p>", 4),
        ("<p>o<em>ne</em> word</p><ul><li>a</li><li>b</li></ul>", 4),
        ("<p>well-known — isn't &amp; 3.14…then</p>", 4),
        ('<p><a href="/x" title="not > these words">link</a><br>line</p>', 2),
        ("<p>\u0939\u093f\u0928\u094d\u0926\u0940 \u0634\u0643\u0631\u0627\u064b</p>", 2),
        ("<p>\u6771\u4eac\u306b\u884c\u304f\u3002</p>", 5),
        ("<p>Python\u3092\u4f7f\u3046</p>", 4),
        ("<p>\ud55c\uad6d\uc5b4 \ubb38\uc7a5</p>", 2),
        ("<p>\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e04\u0e23\u0e31\u0e1a</p>", 2),
    ],
)
def test_words_are_counted_in_any_script(html: str, words: int) -> None:
    assert word_count(html) == words
