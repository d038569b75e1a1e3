"""Which characters a text may hold, which can be seen, and where a text may be cut."""

import pytest

from services.contracts.characters import is_visible, isolated, without_unwanted
from services.contracts.shortening import shortened

ENGLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"
FAMILY = "👩\u200d👩\u200d👧\u200d👦"
HEBREW = "דנה כהן"


@pytest.mark.parametrize(
    "text",
    [
        ENGLAND,
        f"a {ENGLAND}{ENGLAND} b",
        FAMILY,
        "❤\ufe0f 1\ufe0f\u20e3 👍🏽 🇩🇪",
        "\u200eabc\u200f\u061c",
        "می\u200cخواهم",
        "葛\U000e0100",  # a variant of an ideograph
        "é\u0301",
    ],
)
def test_marks_of_direction_and_whole_emoji_stay(text: str) -> None:
    assert without_unwanted(text) == text


@pytest.mark.parametrize("one", [*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF, 0xFFF9, 0xFFFB, 0xD800])
def test_what_reorders_or_means_nothing_goes(one: int) -> None:
    assert without_unwanted(f"a{chr(one)}b") == "ab"


@pytest.mark.parametrize(
    "one", [0xFDD0, 0xFDEF, *(plane + last for plane in range(0, 0x110000, 0x10000) for last in (0xFFFE, 0xFFFF))]
)
def test_non_characters_go(one: int) -> None:
    assert without_unwanted(f"a{chr(one)}b") == "ab"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a\U000e0068\U000e0069", "a"),
        ("\U000e0001x", "x"),
        (ENGLAND[:-1], ENGLAND[0]),
        (ENGLAND[1:], ""),
        (ENGLAND + "\U000e0067", ENGLAND),
        ("👍" + ENGLAND[1:], "👍"),
        ("\U0001f3f4" + ENGLAND[1:-1] * 4 + ENGLAND[-1], "\U0001f3f4"),  # a message, not a flag
    ],
)
def test_tags_stay_in_flags_only(text: str, kept: str) -> None:
    assert without_unwanted(text) == kept


def test_the_isolates_of_names_stay_where_they_are_wanted() -> None:
    assert without_unwanted(f"Re: {isolated(HEBREW)}\u2066\u202e", keep_isolates=True) == f"Re: \u2068{HEBREW}\u2069"


BLANKS = [
    *(
        0x1B,
        0x20,
        0x85,
        0xA0,
        0xAD,
        0x34F,
        0x378,
        0x115F,
        0x1160,
        0x1680,
        0x17B4,
        0x180B,
        0x180E,
        0x200B,
        0x200F,
        0x2028,
    ),
    *(
        0x2060,
        0x2064,
        0x2800,
        0x3000,
        0x3164,
        0xFE0F,
        0xFEFF,
        0xFFA0,
        0xFFF0,
        0x1BCA0,
        0x1D173,
        0xE0020,
        0xE0100,
        0xE0FFF,
    ),
]


@pytest.mark.parametrize("one", BLANKS)
def test_what_cannot_be_seen(one: int) -> None:
    assert not is_visible(chr(one) * 3)


@pytest.mark.parametrize("text", ["a", "\u200bא", "日", ".", "😀", "\U0001fae8", "\U0001fa8e", "\ue000", ENGLAND])
def test_what_can_be_seen(text: str) -> None:
    """The newest emoji too, although this Python's tables do not know them."""
    assert is_visible(text)


@pytest.mark.parametrize("text", ["Anna", "Zoë", "日本語", "Дмитрий", "1986", "😀"])
def test_a_text_from_left_to_right_needs_no_isolation(text: str) -> None:
    assert isolated(text) == text


@pytest.mark.parametrize("text", [HEBREW, "فاطمة", "C++ בעברית", "\u200fabc", "٣"])
def test_a_text_with_letters_from_right_to_left_is_isolated(text: str) -> None:
    assert isolated(text) == f"\u2068{text}\u2069"
    assert isolated(f"\u2069{text}\u202e") == f"\u2068{text}\u2069", "nothing in it ends the isolation"


@pytest.mark.parametrize(
    ("text", "length", "shown"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        (f"ab{ENGLAND}c", 6, "ab…"),
        (f"ab{FAMILY}c", 6, "ab…"),
        ("ab👍🏽cd", 4, "ab…"),
        ("🇩🇪🇫🇷🇮🇹", 4, "🇩🇪…"),
        ("abe\u0323\u0302c", 4, "ab…"),
        ("a" + "\u0301" * 100, 60, "a" + "\u0301" * 58 + "…"),
    ],
)
def test_nothing_is_cut_in_two(text: str, length: int, shown: str) -> None:
    assert shortened(text, length) == shown
