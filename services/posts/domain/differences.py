"""What was taken out of a text and what was put into it, by words; by lines where that would cost too much.

Lines are compared first, and the words of what was replaced among them. Both by Myers' greedy algorithm (An O(ND)
Difference Algorithm, 1986), which finds a shortest list of changes and takes longer the more of them there are: so its
steps are counted. All comparisons of two texts together take at most `MOST_STEPS`, about a tenth of a second, and 4
bytes for each step; what is not found by then counts as replaced. The rest is linear. Altogether two posts of the
greatest length take 0.2 s of a processor and 35 MiB.
"""

import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Literal, NamedTuple

from services.posts.domain.word_count import CHARACTERS

MOST_STEPS = 500_000
MOST_CHARACTERS = 120_000  # old and new, of a passage that is told by words: posts of the greatest length, not imports
LEAST_IN_COMMON = 0.3  # of the letters of the shorter passage; with less, its words are there again by chance

# After a character of Han or Kana stand the marks that vary it.
CHARACTER = rf"{CHARACTERS.pattern}[\u3099\u309a\ufe00-\ufe0f\U000e0100-\U000e01ef]*"
PUNCTUATION = r"!-/:-@\[-`{-~\u00a1\u00ab\u00b7\u00bb\u00bf\u2010-\u205e\u3001-\u3003\u3008-\u3020\uff01-\uff0f"
WORD = re.compile(rf"{CHARACTER}|[{PUNCTUATION}]|(?:(?!{CHARACTERS.pattern})[^\s{PUNCTUATION}])+")
LINE = re.compile(r"[^\n]*\n|[^\n]+")

Op = Literal["equal", "insert", "delete"]
Match = tuple[int, int, int]  # where it begins in the old sequence and in the new one, and its length


class Part(NamedTuple):
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
    words, others = list(WORD.finditer(old)), list(WORD.finditer(new))
    parts: list[Part] = []
    at_old = at_new = common = 0
    for from_old, from_new, length in _matches([one[0] for one in words], [one[0] for one in others], budget):
        for word, other in zip(words[from_old : from_old + length], others[from_new : from_new + length], strict=True):
            gap, other_gap = old[at_old : word.start()], new[at_new : other.start()]
            if gap != other_gap:
                parts += _between(gap, other_gap)
                gap = ""
            parts.append(Part("equal", gap + word[0]))
            at_old, at_new = word.end(), other.end()
            common += len(word[0])
    parts += _between(old[at_old:], new[at_new:])
    return parts if common >= LEAST_IN_COMMON * min(_letters(old), _letters(new)) else whole


def _between(old: str, new: str) -> Iterator[Part]:
    """Yield what stands between two words that stayed: the spaces around what was replaced stayed, too."""
    most = min(len(old), len(new))
    before = next((place for place in range(most) if old[place] != new[place] or not old[place].isspace()), most)
    most -= before
    after = next((n for n in range(most) if old[-1 - n] != new[-1 - n] or not old[-1 - n].isspace()), most)
    yield Part("equal", old[:before])
    yield Part("delete", old[before : len(old) - after])
    yield Part("insert", new[before : len(new) - after])
    yield Part("equal", old[len(old) - after :])


def _letters(text: str) -> int:
    return sum(map(len, text.split()))


def _joined(parts: Iterable[Part]) -> Iterator[Part]:
    """Join neighbours of one kind, and put what was deleted before what was inserted in its place."""
    deleted: list[str] = []
    inserted: list[str] = []
    same: list[str] = []
    for part in parts:
        if part.op == "equal":
            same.append(part.text)
        elif part.text:
            if any(same):
                yield from _told(deleted, inserted, same)
            (deleted if part.op == "delete" else inserted).append(part.text)
    yield from _told(deleted, inserted, same)


def _told(deleted: list[str], inserted: list[str], same: list[str]) -> Iterator[Part]:
    """Yield what was gathered, and forget it."""
    gathered: list[tuple[Op, list[str]]] = [("delete", deleted), ("insert", inserted), ("equal", same)]
    for op, pieces in gathered:
        if text := "".join(pieces):
            yield Part(op, text)
        pieces.clear()


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
