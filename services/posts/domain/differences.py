"""What was taken out of a text and what was put into it, by words; by lines where that would cost too much.

Lines are compared first, and the words of what was replaced among them. Both by Myers' greedy algorithm (An O(ND)
Difference Algorithm, 1986), which finds a shortest list of changes and takes longer the more of them there are: so its
steps are counted. All comparisons of two texts together take `MOST_STEPS`, about a tenth of a second, and 4 bytes for
each step; what is not found by then counts as replaced. What comes before that, and after it, is linear.
"""

import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Literal

from services.posts.domain.word_count import CHARACTERS

MOST_STEPS = 500_000
MOST_CHARACTERS = 120_000  # old and new, of a passage that is told by words: posts of the greatest length, not imports
LEAST_IN_COMMON = 0.3  # of the letters of the shorter passage; with less, its words are there again by chance

# After a character of Han or Kana stand the marks that vary it.
CHARACTER = rf"{CHARACTERS.pattern}[\u3099\u309a\ufe00-\ufe0f\U000e0100-\U000e01ef]*"
PUNCTUATION = r"!-/:-@\[-`{-~\u00a1\u00ab\u00b7\u00bb\u00bf\u2010-\u205e\u3001-\u3003\u3008-\u3020\uff01-\uff0f"
TOKEN = re.compile(rf"\n|[^\S\n]+|{CHARACTER}|[{PUNCTUATION}]|(?:(?!{CHARACTERS.pattern})[^\s{PUNCTUATION}])+")
LINE = re.compile(r"[^\n]*\n|[^\n]+")

Op = Literal["equal", "insert", "delete"]
Match = tuple[int, int, int]  # where it begins in the old sequence and in the new one, and its length


@dataclass(frozen=True)
class Part:
    """A piece of a difference: it stands in both texts, in the new one or in the old one."""

    op: Op
    text: str


@dataclass
class _Budget:
    steps: int


def difference(old: str, new: str) -> list[Part]:
    """Return what leads from one text to another: equal and deleted parts are the old one, equal and inserted the new.

    No two neighbours are of one kind, none is empty, and what is deleted stands before what is inserted in its place.
    """
    budget = _Budget(MOST_STEPS)
    passages = list(_passages(LINE.findall(old), LINE.findall(new), budget))
    changes: dict[int, list[Part]] = {}
    for place in sorted(range(len(passages)), key=lambda place: len(passages[place][0]) + len(passages[place][1])):
        changes[place] = _by_words(*passages[place][:2], budget)
    return list(
        _joined(part for place, (_, _, same) in enumerate(passages) for part in [*changes[place], Part("equal", same)])
    )


def _passages(old: Sequence[str], new: Sequence[str], budget: _Budget) -> Iterator[tuple[str, str, str]]:
    """Yield what was replaced, by what, and what follows it in both."""
    at_old = at_new = 0
    for from_old, from_new, length in [*_matches(old, new, budget), (len(old), len(new), 0)]:
        to_old = from_old + length
        yield "".join(old[at_old:from_old]), "".join(new[at_new:from_new]), "".join(old[from_old:to_old])
        at_old, at_new = to_old, from_new + length


def _by_words(old: str, new: str, budget: _Budget) -> list[Part]:
    """Return the difference of two passages by words, unless that costs too much or they have too little in common."""
    whole = [Part("delete", old), Part("insert", new)]
    if not old or not new or len(old) + len(new) > MOST_CHARACTERS:
        return whole
    parts: list[Part] = []
    common = 0
    for deleted, inserted, same in _passages(TOKEN.findall(old), TOKEN.findall(new), budget):
        parts += [Part("delete", deleted), Part("insert", inserted), Part("equal", same)]
        common += _letters(same)
    return parts if common >= LEAST_IN_COMMON * min(_letters(old), _letters(new)) else whole


def _letters(text: str) -> int:
    return sum(map(len, text.split()))


def _joined(parts: Iterable[Part]) -> Iterator[Part]:
    """Join neighbours of one kind. A space that stayed between two replaced words counts as replaced, too."""
    deleted = inserted = same = ""
    for part in parts:
        if part.op == "equal":
            same += part.text
        elif part.text:
            if same and deleted and inserted and same.isspace() and "\n" not in same:
                deleted, inserted = deleted + same, inserted + same
            elif same:
                yield from _told(deleted, inserted, same)
                deleted = inserted = ""
            same = ""
            if part.op == "delete":
                deleted += part.text
            else:
                inserted += part.text
    yield from _told(deleted, inserted, same)


def _told(deleted: str, inserted: str, same: str) -> Iterator[Part]:
    told: list[tuple[Op, str]] = [("delete", deleted), ("insert", inserted), ("equal", same)]
    yield from (Part(op, text) for op, text in told if text)


def _matches(old: Sequence[str], new: Sequence[str], budget: _Budget) -> Iterator[Match]:
    """Yield what two sequences have in common, in order: their beginning, their end, and what is found in between."""
    most = min(len(old), len(new))
    before = next((place for place in range(most) if old[place] != new[place]), most)
    most -= before
    after = next((place for place in range(most) if old[-1 - place] != new[-1 - place]), most)
    if before:
        yield 0, 0, before
    numbers: dict[str, int] = {}  # they are compared more quickly than words
    between_old, between_new = (
        [numbers.setdefault(one, len(numbers)) for one in sequence[before : len(sequence) - after]]
        for sequence in (old, new)
    )
    for from_old, from_new, length in _common(between_old, between_new, budget):
        yield before + from_old, before + from_new, length
    if after:
        yield len(old) - after, len(new) - after, after


def _common(old: Sequence[int], new: Sequence[int], budget: _Budget) -> Sequence[Match]:
    """Return a longest common subsequence in runs; none if the budget does not last.

    After `changes` rounds `reached` has, for each diagonal (place in `old` minus place in `new`), how far in `old` one
    comes with so many changes.
    """
    if budget.steps <= 0 or set(old).isdisjoint(new):
        return ()
    most = min(len(old) + len(new), isqrt(2 * budget.steps) + 1)
    middle, end = most + 1, len(old) - len(new)
    reached = array("i", bytes(4 * (2 * most + 3)))
    rounds: list[array[int]] = []
    for changes in range(most + 1):
        # What lies beyond the ends of the sequences is left out.
        lowest, highest = -changes + 2 * max(0, changes - len(new)), changes - 2 * max(0, changes - len(old))
        budget.steps -= (highest - lowest) // 2 + 1
        for diagonal in range(lowest, highest + 1, 2):
            left, right = reached[middle + diagonal - 1], reached[middle + diagonal + 1]
            place = begin = right if _inserts(diagonal, changes, left, right) else left + 1
            while place < len(old) and place - diagonal < len(new) and old[place] == new[place - diagonal]:
                place += 1
            reached[middle + diagonal] = place
            budget.steps -= place - begin
        rounds.append(reached[middle - changes : middle + changes + 1 : 2])
        if changes >= abs(end) and reached[middle + end] >= len(old):
            return _traced(rounds, len(old), end)
        if budget.steps <= 0:
            break
    return ()


def _inserts(diagonal: int, changes: int, left: int, right: int) -> bool:
    """Return whether the last change on the way to a diagonal is an insertion: from the one on its right."""
    return diagonal == -changes or (diagonal != changes and left < right)


def _traced(rounds: "Sequence[array[int]]", place: int, diagonal: int) -> Sequence[Match]:
    """Return the runs on the way back from the end."""
    found: list[Match] = []
    for changes in range(len(rounds) - 1, 0, -1):
        before = rounds[changes - 1]
        at = (diagonal + changes) // 2  # of the diagonal on the right; the left one stands before it
        left = before[at - 1] if at else 0
        right = before[at] if at < len(before) else 0
        inserted = _inserts(diagonal, changes, left, right)
        begin = right if inserted else left + 1
        if place > begin:
            found.append((begin, begin - diagonal, place - begin))
        place, diagonal = (right, diagonal + 1) if inserted else (left, diagonal - 1)
    if place:
        found.append((0, 0, place))
    return found[::-1]
