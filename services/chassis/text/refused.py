"""The refusal of a text that cannot be rendered."""


class Refused(ValueError):
    """The text cannot be rendered as it is; the message says why."""
