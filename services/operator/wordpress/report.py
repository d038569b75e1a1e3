"""The result of an import: every item and every comment of the file is accounted for."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from rich import box
from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table

Outcome = Literal["new", "there before", "refused", "left out"]
OUTCOMES: dict[Outcome, str] = {"new": "new", "there before": "before", "refused": "refused", "left out": "left out"}
MOST_REFUSALS = 20


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
        remarks: changes made during the import, with their counts.
        refusals: what a service refused, and why.
    """

    site: str
    items_in_file: int
    comments_in_file: int
    items: Section = field(default_factory=Section)
    comments: Section = field(default_factory=Section)
    people: Section = field(default_factory=Section)
    remarks: Counter[str] = field(default_factory=Counter)
    refusals: list[str] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Return whether every item and comment of the file is on one line and none was refused."""
        counted = (self.items.total(), self.comments.total())
        return counted == (self.items_in_file, self.comments_in_file) and not self.refusals

    def show(self, console: Console) -> None:
        console.print(f"Import of {escape(self.site)}", style="bold", highlight=False)
        console.print(Group(self.items.table("items"), self.comments.table("comments"), self.people.table("people")))
        for remark, count in sorted(self.remarks.items()):
            console.print(f"{count} {escape(remark)}", highlight=False)
        for refusal in self.refusals[:MOST_REFUSALS]:
            console.print(f"refused: {escape(refusal)}", highlight=False)
        if len(self.refusals) > MOST_REFUSALS:
            console.print(f"and {len(self.refusals) - MOST_REFUSALS} more were refused")
        console.print(
            f"The file holds {self.items_in_file} items and {self.comments_in_file} comments; "
            f"{self.items.total()} and {self.comments.total()} are accounted for.",
            highlight=False,
        )
