"""The registry of handlers, the context of a handler, and transient failures."""

from uuid import uuid4

import pytest

from services.chassis.database.pool import Transaction
from services.chassis.errors import Problem, unavailable
from services.chassis.messaging.handlers import Handlers
from services.chassis.messaging.patience import is_unavailable
from services.chassis.runtime.context import TRACEPARENT, Context, add_request_id, bound, current, next_hop
from services.contracts.event import Envelope
from services.contracts.posts import PostEdited, PostFact, PostPublished


async def handler(tx: Transaction, event: PostFact, envelope: Envelope) -> None:
    """Do nothing."""


def test_a_type_has_one_handler() -> None:
    handlers = Handlers()
    assert handlers.on(PostPublished, PostEdited)(handler) is handler
    assert handlers.by_type == {PostPublished.type: handler, PostEdited.type: handler}
    with pytest.raises(ValueError, match=r"posts\.edited\.v1 has two handlers"):
        handlers.on(PostEdited)(handler)


def test_context_is_bound_to_its_block() -> None:
    outer, inner = Context("a"), Context("b", uuid4(), "t")
    with bound(outer):
        with bound(inner):
            assert current() == inner
            assert add_request_id(None, "", {})["request_id"] == "b"
        assert current() == outer
        assert add_request_id(None, "", {})["request_id"] == "a"
    assert current() == Context()
    assert "request_id" not in add_request_id(None, "", {})


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "garbage",
        "00-" + "0" * 32 + "-" + "1" * 16 + "-01",
        "00-" + "1" * 32 + "-" + "0" * 16 + "-01",
        "00-" + "A" * 32 + "-" + "1" * 16 + "-01",
        "00-" + "1" * 32 + "-" + "1" * 16 + "-01\n",
        "ff-" + "1" * 32 + "-" + "1" * 16 + "-01",
    ],
)
def test_invalid_traceparent_begins_a_new_trace(given: str | None) -> None:
    traceparent = next_hop(given)
    assert TRACEPARENT.match(traceparent)
    assert traceparent != given
    assert next_hop(given)[3:35] != traceparent[3:35]


def test_next_hop_keeps_the_trace_with_a_new_span() -> None:
    given = "00-" + "1" * 32 + "-" + "2" * 16 + "-00"
    traceparent = next_hop(given)
    assert traceparent[:36] == given[:36]
    assert traceparent[36:52] != given[36:52]
    assert traceparent.endswith("-00")


def test_only_unavailable_is_a_transient_failure() -> None:
    assert is_unavailable(unavailable("away"))
    for error in (Problem("invalid"), ValueError(), OSError(), TimeoutError(), AssertionError(), Problem("internal")):
        assert not is_unavailable(error)
