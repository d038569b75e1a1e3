"""Which function handles which event: a service's registry, filled by decorators in its `handlers.py`."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from services.chassis.database.pool import Transaction
from services.contracts.event import Envelope, Event

E = TypeVar("E", bound=Event)
Handler = Callable[[Transaction, Any, Envelope], Awaitable[None]]


class Handlers:
    """The handlers of one consumer group.

    A handler gets `(tx, event, envelope)`. It writes through `tx` only, together with the note that the event was
    handled; it may run again after a rollback, so it does nothing that a rollback does not undo. An exception it
    raises is an attempt that failed. It may write to the outbox: the new event names this one as its cause.

    Attributes:
        applied: called after effects were committed, at most once for each transaction; wakes a mailer, for instance.
    """

    def __init__(self) -> None:
        self._by_type: dict[str, Handler] = {}
        self.applied: Callable[[], None] = lambda: None

    def on(
        self, *types: type[E]
    ) -> Callable[
        [Callable[[Transaction, E, Envelope], Awaitable[None]]], Callable[[Transaction, E, Envelope], Awaitable[None]]
    ]:
        """Decorator: the function handles events of these types.

        Raises:
            ValueError: another function does already.
        """

        def register(
            handler: Callable[[Transaction, E, Envelope], Awaitable[None]],
        ) -> Callable[[Transaction, E, Envelope], Awaitable[None]]:
            for event_type in types:
                if event_type.type in self._by_type:
                    raise ValueError(f"{event_type.type} has two handlers")
                self._by_type[event_type.type] = handler
            return handler

        return register

    @property
    def by_type(self) -> Mapping[str, Handler]:
        """Handler by CloudEvents type."""
        return self._by_type
