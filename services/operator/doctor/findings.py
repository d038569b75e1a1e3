"""What the doctor has found: one line about each thing that was looked at."""

import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from services.operator.moments import counted

Level = Literal["ok", "warning", "fault"]

INDENT = 9


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: the thing, such as `posts` or `disk /`.
        found: a sentence without its period.
        mend: what to do about it, as a sentence; empty where all is well.
    """

    level: Level
    name: str
    found: str
    mend: str = ""


def ok(name: str, found: str) -> Finding:
    return Finding("ok", name, found)


def warning(name: str, found: str, mend: str) -> Finding:
    return Finding("warning", name, found, mend)


def fault(name: str, found: str, mend: str) -> Finding:
    return Finding("fault", name, found, mend)


def lines(finding: Finding, width: int) -> list[str]:
    """Return a finding as lines of at most this width; a longer word stays whole, so that it can be copied."""
    text = _printable(f"{finding.name}: {finding.found}.")
    shown = _wrapped(text, finding.level.ljust(INDENT), width)
    return shown + (_wrapped(_printable(finding.mend), " " * INDENT + "mend: ", width) if finding.mend else [])


def _wrapped(text: str, first: str, width: int) -> list[str]:
    return textwrap.wrap(
        text,
        max(width, 2 * INDENT),
        initial_indent=first,
        subsequent_indent=" " * INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)


def summary(findings: Sequence[Finding]) -> str:
    """Return how many findings there are of each level."""
    counts = Counter(finding.level for finding in findings)
    return f"{counts['ok']} ok, {counted(counts['warning'], 'warning')}, {counted(counts['fault'], 'fault')}."


def as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return the findings for a program."""
    counts = Counter(finding.level for finding in findings)
    return {
        "ok": counts["ok"],
        "warnings": counts["warning"],
        "faults": counts["fault"],
        "findings": [asdict(finding) for finding in findings],
    }
