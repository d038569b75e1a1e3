"""Stop signals as an exception."""

import contextlib
import signal
from collections.abc import Iterator


class Stopped(BaseException):
    """A stop signal has arrived."""


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Raise `Stopped` at SIGTERM or SIGINT inside the block, once; ignore them outside."""

    def stop(*_: object) -> None:
        ignore()
        raise Stopped

    def ignore() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    try:
        yield
    except Stopped:
        return
    finally:
        ignore()
