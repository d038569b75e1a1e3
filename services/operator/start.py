"""Start the `rapport` command: Ctrl-C ends it without a word while it is still being read in, which takes a moment."""

import signal


def main() -> None:
    """Read the command in, and run it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from services.operator.__main__ import main as run  # this is what takes the moment

    signal.signal(signal.SIGINT, signal.default_int_handler)
    run()
