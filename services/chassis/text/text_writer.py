"""Write plain text in blocks: blank lines between them, a mark before each item, `> ` before each quoted line."""

from collections.abc import Iterable

from services.chassis.text.columns import wrapped
from services.contracts.shortening import shortened

LEAST_ROOM = 20  # columns; in what is nested deeper than that, lines become longer
LEFT_OUT = "[…]"


class TextWriter:
    """The lines written so far, and the prefixes of the quotations and items that are open, outermost first.

    Args:
        columns: where prose is broken; None to leave lines as they are.
        most: how many characters there may be. What comes later is left out, and a line says so.
    """

    def __init__(self, columns: int | None, most: int | None) -> None:
        self.is_full = False
        self._lines: list[str] = []
        self._columns = columns
        self._left = most
        self._next: list[str] = []  # the prefixes of the next line
        self._later: list[str] = []  # and of those after it
        self._still_open = 0  # of the prefixes of the last line
        self._last_was_item = False

    def begin_quotation(self) -> None:
        """Put `> ` before each line until the end."""
        self._next.append("> ")
        self._later.append("> ")

    def begin_item(self, mark: str) -> None:
        """Put a mark before the next line and indent those after it until the end."""
        self._next.append(mark)
        self._later.append(" " * len(mark))

    def end_quotation(self) -> None:
        """End the innermost quotation."""
        self._end()

    def end_item(self) -> None:
        """End the innermost item; one without text shows its mark."""
        if self._next and self._next[-1] != self._later[-1]:
            self.block([""])
        self._end()

    def separate(self) -> None:
        """Put a blank line before the next block, even if it is an item behind an item."""
        self._last_was_item = False

    def room(self) -> int | None:
        """Return how many columns are left beside the prefixes."""
        return None if self._columns is None else max(self._columns - sum(map(len, self._later)), LEAST_ROOM)

    def block(self, lines: Iterable[str], *, is_prose: bool = False) -> None:
        """Write lines, after a blank one with the prefixes of what is around both. Between items there is none.

        Args:
            is_prose: whether long lines may be broken.
        """
        is_item = self._next != self._later
        if self._lines and not (is_item and self._last_was_item):
            self._write("".join(self._later[: self._still_open]))
        room = self.room() if is_prose else None
        prefix = "".join(self._next)
        later = "".join(self._later)
        for line in lines:
            for piece in (line,) if room is None else wrapped(line, room):
                self._write(prefix + piece)
                prefix = later
        self._next = self._later.copy()
        self._still_open = len(self._later)
        self._last_was_item = is_item

    def text(self) -> str:
        """Return what was written."""
        return "\n".join(self._lines)

    def _end(self) -> None:
        if self._later:
            self._next.pop()
            self._later.pop()
        self._still_open = min(self._still_open, len(self._later))

    def _write(self, line: str) -> None:
        if self.is_full:
            return
        line = line.rstrip()
        if self._left is not None:
            if len(line) > self._left:
                self.is_full = True
                if self._left > (self._columns or 0):
                    self._lines.append(shortened(line, self._left))
                self._lines.append("".join(self._later) + LEFT_OUT)
                return
            self._left -= len(line) + 1
        self._lines.append(line)
