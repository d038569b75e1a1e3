"""What a moderator has decided, as the page that it leads to says it and offers to take it back."""

from dataclasses import dataclass
from uuid import UUID

from services.contracts.ids import id_or_none
from services.gateway.composition import queue
from services.gateway.composition.queue import STEPS, Step

BEFORE_IT = ("visible", "held", "removed")  # the states in which a comment may have been


@dataclass(frozen=True)
class Decision:
    """A step that was taken with comments, and can be taken back.

    Attributes:
        before: the state that they were in.
    """

    step: Step
    before: str
    ids: tuple[UUID, ...]

    @property
    def text(self) -> str:
        """The form in which addresses and forms carry it."""
        return " ".join((self.step, self.before, *map(str, self.ids)))


def decision_of(text: str) -> Decision | None:
    """Return the decision that a text is; None for any other."""
    step, _, rest = text.partition(" ")
    before, *ids = rest.split(" ")
    if step not in STEPS or before not in BEFORE_IT or not 0 < len(ids) <= queue.AT_ONCE:
        return None
    known = [UUID(one) for one in ids if id_or_none(one)]
    return Decision(step, before, tuple(known)) if len(known) == len(ids) else None
