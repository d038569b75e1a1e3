"""Plain prose gets the same HTML as from the parser and the sanitiser."""

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.chassis.text.prose import is_prose, prose_html
from services.chassis.text.renderer import to_html

WORDS = st.sampled_from(
    [
        "a",
        "Word",
        "don't",
        "Zoë",
        "日本",
        "ß",
        "x1",
        "12",
        "1.",
        "1)",
        "www",
        "http",
        "mailto",
        "com",
        "org",
        "I",
        "o'",
        "e",
    ]
)
JOINTS = st.sampled_from(
    [*(" ", "  ", ", ", ". ", ".", ": ", ":", "; ", "! ", "? ", "...", "…", " - ", "-", "--", "---", " – ", " — "),
     *("(", ")", ").", ".)", '"', '."', "'", "“", "”", "«", "\n", "\n\n", "\n\n\n", " \n", "\n ", "%", "!", "?")]
)  # fmt: skip
TEXTS = st.lists(st.tuples(WORDS, JOINTS), min_size=1, max_size=12).map(lambda parts: "".join(map("".join, parts)))


@settings(max_examples=1500, deadline=None)
@given(TEXTS)
@example("Setext\n---")
@example("a\n(b)\n\n\nc: d.")
@example('"Quoted," she said (loudly).')
@example("Word - and -- dashes --- too")
@example("1. no list\n2. no list")
@example("a:\n- b")
def test_prose_of_words_equals_the_parsers_html(text: str) -> None:
    if is_prose(text):
        assert prose_html(text) == to_html(text, "markdown")


ALPHABET = st.sampled_from([*"aé1 .:,-('\")!?\n\n", "…", "–", "“", "\u00a0", "\t", "_", "*", "\u0301", "\u2028", "²"])


@settings(max_examples=3000, deadline=None)
@given(st.lists(ALPHABET, max_size=14).map("".join))
def test_prose_of_characters_equals_the_parsers_html(text: str) -> None:
    if is_prose(text):
        assert prose_html(text) == to_html(text, "markdown")


@pytest.mark.parametrize(
    "text",
    [
        "One line.",
        "I don't think so, and here's why: it isn't (quite) true.",
        "First paragraph, two\nlines!\n\nSecond paragraph… “quoted” – done.",
        '"To be, or not to be," he said.',
    ],
)
def test_ordinary_comments_are_prose(text: str) -> None:
    assert is_prose(text)
    assert prose_html(text) == to_html(text, "markdown")


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " a",
            "a ",
            "a\n b",
            "a \nb",
            "\na",
            "a\n",
            "*a*",
            "_a_",
            "`a`",
            "# a",
            "> a",
            "- a",
            "+ a",
            "1. a",
            "1) a",
        ),
        *("a\n---", "a\n===", "---", "a|b", "<b>", "a & b", "&amp;", "a\\b", "[a](b)", "![a](b)", "~a~", "example.org"),
        *("http://a", "a@b.org", "@ann", "a/b", "main.py", "3.5", "a\tb", "a\u00a0b", "a\0b", "    a", "a\n    b"),
        *("www.a.org", "mailto:a", ":-", "a\n:-"),
    ],
)
def test_text_with_possible_markup_is_not_prose(text: str) -> None:
    assert not is_prose(text)


@pytest.mark.parametrize(
    "text", ["a" * 60_000, "a." * 30_000, "a. " * 20_000 + "*", "a\n" * 30_000 + "*", '"' * 60_000]
)
def test_is_prose_takes_linear_time(text: str) -> None:
    started = time.process_time()
    is_prose(text)
    assert time.process_time() - started < 1.0, "a quadratic match would take minutes"
