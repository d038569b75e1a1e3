"""Which functions of the services are called, seen by the interpreter's profiling hook."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tests.stack import ROOT

SERVICES = str(ROOT / "services") + "/"


class Trace:
    """The functions that were called, by file; grows while `recording` is open."""

    def __init__(self) -> None:
        self.calls: set[tuple[str, str]] = set()

    def files(self, service: str) -> set[str]:
        """Return the files of one service that were passed."""
        return {file for file, _ in self.calls if file.startswith(f"services/{service}/")}

    def passed(self, file: str, function: str) -> bool:
        """Return whether a function, or a function inside it, was called; a method is named `Class.method`."""
        return any(found == file and name.startswith(function) for found, name in self.calls)


@contextmanager
def recording() -> Iterator[Trace]:
    """Record every call of a function in services/ made by this thread."""
    trace = Trace()

    def look(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(SERVICES) and code.co_name != "<module>":
            name = code.co_qualname.replace(".<locals>", "")
            trace.calls.add((code.co_filename.removeprefix(str(ROOT) + "/"), name))

    sys.setprofile(look)
    try:
        yield trace
    finally:
        sys.setprofile(None)
