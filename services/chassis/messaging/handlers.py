"""The registry of event handlers, filled by decorators in a service's `handlers.py`."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from services.chassis.database.pool import Transaction
from services.chassis.runtime.context import Context, next_hop
from services.contracts.event import Envelope, Event

E = TypeVar("E", bound=Event)
Handler = Callable[[Transaction, E, Envelope], Awaitable[None]]
RunHandler = Callable[[Transaction, Sequence[tuple[E, Envelope]]], Awaitable[None]]


def context_of(envelope: Envelope) -> Context:
    """Return the context of what an event causes."""
    return Context(envelope.correlation_id, envelope.id, next_hop(envelope.traceparent))


class Handlers:
    """The handlers of one consumer group.

    A handler gets `(tx, event, envelope)`. It writes through `tx` only, in the transaction of the inbox row. It may run
    again after a rollback, so it has no effect that a rollback does not undo. An exception is a failed attempt. It may
    write to the outbox: the new event gets this event as its cause.

    A handler of runs gets `(tx, [(event, envelope), …])`: consecutive events that it is registered for, of one or more
    partitions, for one statement instead of many. It must leave what handling them one after the other would leave. No
    event is its cause: it writes each new event in the context of the one that causes it (`context_of`).

    Attributes:
        on_applied: called after effects were committed, at most once per transaction; wakes a mailer, for instance.
    """

    def __init__(self) -> None:
        self._by_type: dict[str, Handler[Any]] = {}
        self._of_runs: dict[Handler[Any], RunHandler[Any]] = {}
        self.on_applied: Callable[[], None] = lambda: None

    def on(self, *types: type[E]) -> Callable[[Handler[E]], Handler[E]]:
        """Register the decorated function for events of these types.

        Raises:
            ValueError: a type has a handler already.
        """

        def register(handler: Handler[E]) -> Handler[E]:
            for event_type in types:
                if event_type.type in self._by_type:
                    raise ValueError(f"{event_type.type} has two handlers")
                self._by_type[event_type.type] = handler
            return handler

        return register

    def on_runs(self, *types: type[E]) -> Callable[[RunHandler[E]], RunHandler[E]]:
        """Register the decorated function for runs of events of these types.

        Raises:
            ValueError: a type has a handler already.
        """

        def register(handler: RunHandler[E]) -> RunHandler[E]:
            async def one(tx: Transaction, event: E, envelope: Envelope) -> None:
                await handler(tx, [(event, envelope)])

            self.on(*types)(one)
            self._of_runs[one] = handler
            return handler

        return register

    def of_run(self, handler: Handler[Any]) -> RunHandler[Any] | None:
        """Return what handles a run of the events of this handler at once, if anything does."""
        return self._of_runs.get(handler)

    @property
    def by_type(self) -> Mapping[str, Handler[Any]]:
        """Return the handlers by CloudEvents type."""
        return self._by_type
