"""How a command says that it could not do its work."""


class Failed(Exception):
    """It could not be done; the message is one sentence for the operator, who finds no traceback behind it."""
