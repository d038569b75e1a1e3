"""One connection of the HTTP server that shares its room with others."""

import asyncio
from typing import Any

from services.chassis.http.connection_shares import ConnectionShares, Wait
from services.chassis.http.protocol import LimitedHttpProtocol, Phase


class SharedHttpProtocol(LimitedHttpProtocol):
    """Ends at once when there is no room for it, and gives way to others while it waits for its client."""

    def __init__(self, *arguments: Any, shares: ConnectionShares, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._shares = shares

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        if not self._shares.admit(self, self.client[0] if self.client else None):
            self.drop()

    def connection_lost(self, exc: Exception | None) -> None:
        self._shares.leave(self)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._shares.stop_reading(self, self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        super().resume_writing()
        self._shares.read_on(self)

    def waits(self) -> tuple[Wait, float] | None:
        """Return what the client is to do, and a time that is less the longer it takes; None if it waits for us."""
        if self._lingering or self.transport.is_closing():
            return Wait.TO_LEAVE, 0.0
        if self._write_deadline is not None:
            return Wait.TO_READ, self._write_deadline.when()
        if self._phase is Phase.BODY:
            return None if self._app_is_late() else (Wait.TO_SEND_BODY, self._progress)
        if self.cycle is not None and not self.cycle.response_complete:
            return None
        if self._deadline is not None:
            return Wait.TO_SEND_HEADERS, self._deadline.when()
        idle = self.timeout_keep_alive_task
        return None if idle is None else (Wait.TO_ASK, idle.when())

    def drop(self) -> None:
        """Close the connection without an answer, at once."""
        self.transport.abort()
