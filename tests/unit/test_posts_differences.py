"""What leads from one text to another: true for every text, by words where that can be paid, and bounded."""

import random
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.posts.domain import differences
from services.posts.domain.differences import difference

# Few words, so that texts have much in common; and anything at all, so that no character is lost or split.
WORDS = st.lists(st.sampled_from(["the", "bean", "beans", " ", "  ", "\n", "\n\n", ".", ",", "é", "雨", "が\ufe00"]))
TEXTS = st.one_of(WORDS.map("".join), st.text(), st.text("ab \n"))


@given(TEXTS, TEXTS)
@example("", "")
@example("a b", "c d")
@example("\r\n\r", "\n\r\n")
def test_equal_and_deleted_parts_are_the_old_text_equal_and_inserted_ones_the_new(old: str, new: str) -> None:
    parts = difference(old, new)
    assert "".join(part.text for part in parts if part.op != "insert") == old
    assert "".join(part.text for part in parts if part.op != "delete") == new
    assert all(part.text for part in parts)
    assert all(before.op != after.op for before, after in pairwise(parts))
    assert ("insert", "delete") not in [(before.op, after.op) for before, after in pairwise(parts)]
    assert (old == new) == all(part.op == "equal" for part in parts)


@given(st.text("abc"), st.text("abc"))
def test_nothing_that_could_stay_is_replaced(old: str, new: str) -> None:
    """Compared with the table that every textbook has."""
    found = sum(length for _, _, length in differences._matches(old, new, differences._Budget(10**6)))
    longest = [[0] * (len(new) + 1) for _ in range(len(old) + 1)]
    for i, one in enumerate(old):
        for j, other in enumerate(new):
            longest[i + 1][j + 1] = longest[i][j] + 1 if one == other else max(longest[i][j + 1], longest[i + 1][j])
    assert found == longest[-1][-1]


def told(old: str, new: str) -> str:
    marks = {"equal": "%s", "delete": "[-%s-]", "insert": "{+%s+}"}
    return "".join(marks[part.op] % part.text for part in difference(old, new))


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("Beans at three.", "Beans at four.", "Beans at [-three-]{+four+}."),
        ("The old red bean", "The young green bean", "The [-old red-]{+young green+} bean"),
        ("one\ntwo\nthree\n", "one\nthree\nfour\n", "one\n[-two\n-]three\n{+four\n+}"),
        ("今日は雨です。", "今日は雪です。", "今日は[-雨-]{+雪+}です。"),
        ("हिन्दी में", "हिन्दू में", "[-हिन्दी-]{+हिन्दू+} में"),  # marks stay with their letters
        (
            "Yes.",
            "Yes. And much more of it than was there before.",
            "Yes.{+ And much more of it than was there before.+}",
        ),
        (
            "Nothing of this stays",
            "Wholly different words here",
            "[-Nothing of this stays-]{+Wholly different words here+}",
        ),
        ("same", "same", "same"),
        ("", "new", "{+new+}"),
    ],
)
def test_a_difference_reads_as_people_would_tell_it(old: str, new: str, what: str) -> None:
    assert told(old, new) == what


def test_a_passage_that_costs_too_much_is_told_by_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = "Intro\nbeans at three\nEnd\n", "Intro\nbeans at four\nEnd\n"
    assert told(old, new) == "Intro\nbeans at [-three-]{+four+}\nEnd\n"
    monkeypatch.setattr(differences, "MOST_CHARACTERS", 10)
    assert told(old, new) == "Intro\n[-beans at three\n-]{+beans at four\n+}End\n"


def chosen(of: str | list[str], number: int, between: str = "") -> str:
    return between.join(CHANCE.choices(of, k=number))


CHANCE = random.Random(7)
HAN = [chr(0x4E00 + number) for number in range(2_000)]
COSTLY: dict[str, Callable[[], tuple[str, str]]] = {
    "characters of two kinds": lambda: (chosen("雨雪", 60_000), chosen("雨雪", 60_000)),
    "characters of many kinds": lambda: (chosen(HAN, 60_000), chosen(HAN, 60_000)),
    "lines of one letter": lambda: (chosen("abcdef", 30_000, "\n"), chosen("abcdef", 30_000, "\n")),
    "words and letters": lambda: (chosen("ab", 30_000, " "), chosen("ab ", 60_000)),
    "turned round": lambda: ("\n".join(map(str, range(9_000))), "\n".join(map(str, range(9_000, 0, -1)))),
    "an import": lambda: ("<p>a b</p>" * 800_000, "<p>b c</p>" * 800_000),
}


@pytest.mark.parametrize("name", COSTLY)
def test_the_largest_texts_cost_no_more_than_is_allowed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    budgets: list[differences._Budget] = []

    class Counted(differences._Budget):
        def __init__(self, steps: int) -> None:
            super().__init__(steps)
            budgets.append(self)

    monkeypatch.setattr(differences, "_Budget", Counted)
    old, new = COSTLY[name]()
    parts = difference(old, new)
    assert "".join(part.text for part in parts if part.op != "insert") == old
    assert "".join(part.text for part in parts if part.op != "delete") == new
    [budget] = budgets
    assert -60_000 < budget.steps <= differences.MOST_STEPS, "only a round that is begun is finished"


def test_a_word_in_a_post_of_the_greatest_length_is_found() -> None:
    text = chosen(HAN, 60_000)
    parts = difference(text, text[:30_000] + "雨雪" + text[30_002:])
    assert [part.op for part in parts] == ["equal", "delete", "insert", "equal"]
    assert [len(part.text) for part in parts[1:3]] == [2, 2]
