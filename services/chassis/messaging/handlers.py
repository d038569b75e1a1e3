"""The registry of event handlers, filled by decorators in a service's `handlers.py`."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from services.chassis.database.pool import Transaction
from services.contracts.event import Envelope, Event

E = TypeVar("E", bound=Event)
Handler = Callable[[Transaction, E, Envelope], Awaitable[None]]


class Handlers:
    """The handlers of one consumer group.

    A handler gets `(tx, event, envelope)`. It writes through `tx` only, in the transaction of the inbox row. It may run
    again after a rollback, so it has no effect that a rollback does not undo. An exception is a failed attempt. It may
    write to the outbox: the new event gets this event as its cause.

    Attributes:
        on_applied: called after effects were committed, at most once per transaction; wakes a mailer, for instance.
    """

    def __init__(self) -> None:
        self._by_type: dict[str, Handler[Any]] = {}
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

    @property
    def by_type(self) -> Mapping[str, Handler[Any]]:
        """Return the handlers by CloudEvents type."""
        return self._by_type
