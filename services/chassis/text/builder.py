"""Write well-formed HTML of bounded size and nesting from tags that may be in any order."""

from collections.abc import Collection

from services.chassis.text.refused import Refused
from services.chassis.text.words import BLOCKS

MAX_NESTING = 50

SECTIONS = frozenset(("tbody", "tfoot", "thead"))
CELLS = frozenset(("caption", "td", "th"))
TABLE_PARTS = CELLS | SECTIONS | {"tr"}
TABLE = frozenset(("table",))
LIMITS = CELLS | TABLE  # an end tag inside closes nothing outside
HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
INLINE_LIMITS = LIMITS | {"blockquote", "dd", "dt", "li"}

# What the start of an element ends, and the elements at which the search for it stops.
ENDED_BY = {
    "a": (frozenset(("a",)), LIMITS),
    **dict.fromkeys(HEADINGS, (frozenset(HEADINGS), BLOCKS - {*HEADINGS})),
    "li": (frozenset(("li",)), LIMITS | {"ol", "ul"}),
    **dict.fromkeys(("dd", "dt"), (frozenset(("dd", "dt")), LIMITS | {"dl"})),
    **dict.fromkeys(("td", "th"), (CELLS, TABLE)),
    "tr": (CELLS | {"tr"}, TABLE),
    **dict.fromkeys(("caption", *SECTIONS), (TABLE_PARTS, TABLE)),
}


class Builder:
    """The HTML written so far and the elements open in it, innermost last.

    Browsers and the sanitiser repair what is out of order by rules that can multiply elements or take quadratic time;
    what is written here needs no repair. Where order is missing, no word is lost.
    """

    def __init__(self, most: int) -> None:
        self.open: list[str] = []
        self._out: list[str] = []
        self._left = most

    def write(self, html: str) -> None:
        """Write text or an element without content.

        Raises:
            Refused: the HTML becomes too large.
        """
        self._left -= len(html)
        if self._left < 0:
            raise Refused("becomes too large when it is shown")
        self._out.append(html)

    def start(self, name: str, attributes: str = "") -> None:
        """Open an element where the parser has opened it.

        Raises:
            Refused: the HTML becomes too large or is nested too deeply.
        """
        if len(self.open) >= MAX_NESTING:
            raise Refused("is nested too deeply")
        self.open.append(name)
        self.write(f"<{name}{attributes}>")

    def make_room(self, name: str) -> bool:
        """End what an element ends by its start, and open what is missing around it. Return whether it has a place."""
        if name in TABLE_PARTS:
            if "table" not in self.open:
                return False
        elif self.is_between_cells():
            self.open_cell()
        if name in ENDED_BY:
            self._close(*ENDED_BY[name])
        if name in BLOCKS:
            self._close_paragraph()
        if name in CELLS and name != "caption" and self.open[-1] != "tr":
            self.start("tr")
        return True

    def end(self, name: str) -> None:
        """Close the innermost open element of this name, with all that is open in it, if there is one."""
        if self.open and self.open[-1] == name:
            self._close_to(len(self.open) - 1)
        elif name == "table":
            self._close(TABLE, ())
        elif name in TABLE_PARTS:
            self._close((name,), TABLE)
        else:
            self._close((name,), LIMITS if name in BLOCKS else INLINE_LIMITS)

    def finished(self) -> str:
        """Close what is open and return the HTML."""
        self._close_to(0)
        return "".join(self._out)

    def is_between_cells(self) -> bool:
        """Return whether only a part of a table may come next."""
        return bool(self.open) and (self.open[-1] in ("table", "tr") or self.open[-1] in SECTIONS)

    def open_cell(self) -> None:
        """Open a cell for content that stands between cells: the sanitiser takes quadratic time to move it out."""
        if self.open[-1] != "tr":
            self.start("tr")
        self.start("td")

    def _close(self, names: Collection[str], limits: Collection[str]) -> None:
        """Close the outermost run of these names that no limit encloses further inside."""
        found = None
        for height in range(len(self.open) - 1, -1, -1):
            if self.open[height] in limits:
                break
            if self.open[height] in names:
                found = height
                if len(names) == 1:
                    break
        if found is not None:
            self._close_to(found)

    def _close_paragraph(self) -> None:
        for height in range(len(self.open) - 1, -1, -1):
            if self.open[height] == "p":
                self._close_to(height)
            if height >= len(self.open) or self.open[height] in BLOCKS:
                return

    def _close_to(self, height: int) -> None:
        while len(self.open) > height:
            self.write(f"</{self.open.pop()}>")
