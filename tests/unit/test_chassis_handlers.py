"""The registry of handlers, and the context a handler works in."""

from uuid import uuid4

import pytest

from services.chassis.database.pool import Transaction
from services.chassis.errors import Problem, unavailable
from services.chassis.messaging.handlers import Handlers
from services.chassis.messaging.record_processor import is_transient
from services.chassis.runtime.context import TRACEPARENT, Context, bound, current, name_request, next_hop
from services.contracts.event import Envelope
from services.contracts.posts import PostEdited, PostFact, PostPublished


async def handler(tx: Transaction, event: PostFact, envelope: Envelope) -> None:
    """Does nothing."""


def test_one_function_handles_several_types_and_one_type_has_one_function() -> None:
    handlers = Handlers()
    assert handlers.on(PostPublished, PostEdited)(handler) is handler
    assert handlers.by_type == {PostPublished.type: handler, PostEdited.type: handler}
    with pytest.raises(ValueError, match=r"posts\.edited\.v1 has two handlers"):
        handlers.on(PostEdited)(handler)


def test_a_context_belongs_to_its_block() -> None:
    outer, inner = Context("a"), Context("b", uuid4(), "t")
    with bound(outer):
        with bound(inner):
            assert current() == inner
            assert name_request(None, "", {})["request_id"] == "b"
        assert current() == outer
        assert name_request(None, "", {})["request_id"] == "a"
    assert current() == Context()
    assert "request_id" not in name_request(None, "", {})


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
def test_without_a_trace_to_follow_a_new_one_begins(given: str | None) -> None:
    made = next_hop(given)
    assert TRACEPARENT.match(made)
    assert made != given
    assert next_hop(given)[3:35] != made[3:35]


def test_a_hop_keeps_the_trace_and_has_its_own_span() -> None:
    given = "00-" + "1" * 32 + "-" + "2" * 16 + "-00"
    made = next_hop(given)
    assert made[:36] == given[:36]
    assert made[36:52] != given[36:52]
    assert made.endswith("-00")


def test_what_a_handler_waits_for_and_what_counts_against_it() -> None:
    assert is_transient(unavailable("away"))
    for counts in (Problem("invalid"), ValueError(), OSError(), TimeoutError(), AssertionError(), Problem("internal")):
        assert not is_transient(counts)
