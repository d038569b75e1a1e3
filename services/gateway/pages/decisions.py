"""What a moderator has decided, as the page that it leads to says it and offers to take it back.

Its address carries it, signed for this moderator: a link that somebody else made says nothing of it.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

import itsdangerous
from starlette.requests import Request

from services.contracts.ids import id_or_none
from services.gateway.composition import queue
from services.gateway.composition.queue import STEPS, Step
from services.gateway.composition.request_context import RequestContext
from services.gateway.gateway import gateway_of

BEFORE_IT = ("visible", "held", "removed")  # the states in which a comment may have been

Said = Literal["decided", "undone"]  # the parameters of an address that say so


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


def said(request: Request, context: RequestContext, name: Said, decision: Decision) -> tuple[str, str]:
    """Return the parameter of an address that says to this viewer that a decision was made, or taken back."""
    return name, _signer(request, context, name).sign(decision.text).decode()


def said_by(request: Request, context: RequestContext, name: Said, given: Mapping[str, str]) -> Decision | None:
    """Return the decision that an address says; None if it says none, or if we did not say it to this viewer."""
    try:
        return decision_of(_signer(request, context, name).unsign(given.get(name, "").encode()).decode())
    except itsdangerous.BadSignature:
        return None


def _signer(request: Request, context: RequestContext, name: Said) -> itsdangerous.Signer:
    return itsdangerous.Signer(
        gateway_of(request).settings.gateway_signing_key,
        salt=f"rapport.gateway.{name} {context.viewer.person_id}",
        key_derivation="hmac",
        digest_method=hashlib.sha256,
    )
