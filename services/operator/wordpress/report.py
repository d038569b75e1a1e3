"""The result of an import: every item and every comment of the file is accounted for."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from rich import box
from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table

from services.operator.moments import counted

Outcome = Literal["new", "there before", "refused", "left out"]
OUTCOMES: dict[Outcome, str] = {"new": "new", "there before": "before", "refused": "refused", "left out": "left out"}
MOST_REFUSALS = 20
MOST_NAMES = 30


class Section:
    """Counts of one kind of thing, by line of the report and by outcome."""

    def __init__(self) -> None:
        self._lines: dict[str, Counter[Outcome]] = {}

    def count(self, label: str, outcome: Outcome) -> None:
        self._lines.setdefault(label, Counter())[outcome] += 1

    def total(self, outcome: Outcome | None = None) -> int:
        return sum(line[outcome] if outcome else line.total() for line in self._lines.values())

    def of(self, label: str) -> int:
        """Return the total of one line over all outcomes."""
        return self._lines.get(label, Counter()).total()

    def table(self, title: str) -> Table:
        table = Table(title, *OUTCOMES.values(), "all", box=box.SIMPLE_HEAD, show_footer=True, pad_edge=False)
        for label, line in sorted(self._lines.items(), key=lambda item: (item[0].startswith("skipped"), item[0])):
            table.add_row(escape(label), *(_number(line[outcome]) for outcome in OUTCOMES), str(line.total()))
        footers = ["total", *(_number(self.total(outcome)) for outcome in OUTCOMES), str(self.total())]
        for column, footer in zip(table.columns, footers, strict=True):
            column.footer = footer
            column.justify = "left" if column is table.columns[0] else "right"
            column.no_wrap = column is not table.columns[0]
        return table


def _number(count: int) -> str:
    return str(count) if count else "-"


@dataclass
class Report:
    """The report of one import.

    Attributes:
        items_in_file: number of items that the first pass found.
        remarks: what was changed during the import, and the noun of what it was changed in, with their counts.
        left_out: shortcodes without a replacement, with their counts.
        refusals: what a service refused, and why.
    """

    site: str
    items_in_file: int
    comments_in_file: int
    items: Section = field(default_factory=Section)
    comments: Section = field(default_factory=Section)
    people: Section = field(default_factory=Section)
    remarks: Counter[tuple[str, str]] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    refusals: list[str] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Return whether every item and comment of the file is on one line and none was refused."""
        all_items = self.items.total() == self.items_in_file
        return all_items and self.comments.total() == self.comments_in_file and not self.refusals

    def show(self, console: Console) -> None:
        console.print(f"Import of {escape(self.site)}", style="bold", highlight=False)
        console.print(Group(self.items.table("items"), self.comments.table("comments"), self.people.table("people")))
        for (remark, noun), count in sorted(self.remarks.items()):
            console.print(f"{counted(count, noun)} {escape(remark)}", highlight=False)
        if self.left_out:
            names = ", ".join(f"{name} {count:,}" for name, count in self.left_out.most_common(MOST_NAMES))
            and_more = ", …" if len(self.left_out) > MOST_NAMES else ""
            console.print(
                f"{counted(self.left_out.total(), 'shortcode')} left out, what stood between them kept: "
                f"{escape(names)}{and_more}",
                highlight=False,
            )
        for refusal in self.refusals[:MOST_REFUSALS]:
            console.print(f"refused: {escape(refusal)}", highlight=False)
        if (more := len(self.refusals) - MOST_REFUSALS) > 0:
            console.print(f"and {more:,} more {'was' if more == 1 else 'were'} refused", highlight=False)
        console.print(
            f"The file holds {counted(self.items_in_file, 'item')} and {counted(self.comments_in_file, 'comment')}; "
            f"{self.items.total():,} and {self.comments.total():,} are accounted for.",
            highlight=False,
        )
