"""Progress bars of an import on a terminal."""

from types import TracebackType

from rich import progress
from rich.console import Console


class Progress:
    """Two progress bars on a terminal; nothing elsewhere."""

    def __init__(self, console: Console) -> None:
        self._bars = progress.Progress(
            progress.TextColumn("{task.description:>8}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> "Progress":
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def begin(self, items: int, comments: int) -> None:
        self._items = self._bars.add_task("items", total=items)
        self._comments = self._bars.add_task("comments", total=comments)

    def item(self) -> None:
        self._bars.advance(self._items)

    def comment(self) -> None:
        self._bars.advance(self._comments)
