"""The exception of a failed command."""


class Failed(Exception):
    """A command failed; the message is one sentence for the operator, printed without a traceback."""
