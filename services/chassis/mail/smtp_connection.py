"""A connection to a mail server that has been greeted: commands go out, replies come in, in the order of the commands.

aiosmtplib opens connections and speaks EHLO, STARTTLS and AUTH on them, but waits for the reply to each command before
it sends the next. A dialogue sends MAIL and RCPT together where the server takes that (PIPELINING, RFC 2920).
"""

import asyncio
import re
from collections import deque
from collections.abc import Collection
from typing import NamedTuple

LONGEST_REPLY = 32 * 1024
CODE = re.compile(rb"[0-9]{3}\Z")
CONTROL = re.compile(rb"[\x00-\x1f\x7f]")


class Reply(NamedTuple):
    """A reply of the mail server; the lines of its text are joined by line breaks."""

    code: int
    text: str


class MalformedReply(OSError):
    """The server sent what is no reply, or one that answers nothing."""


class SmtpConnection(asyncio.Protocol):
    """A connection on which EHLO was answered. It takes the transport over from whoever has used it so far.

    Attributes:
        extensions: what the server offers, in lower case.
    """

    def __init__(self, transport: asyncio.Transport, extensions: Collection[str]) -> None:
        self.extensions = frozenset(extensions)
        self.transport = transport
        self._buffer = b""
        self._lines: list[bytes] = []
        self._replies: deque[Reply] = deque()
        self._expected = 0  # replies to commands that were sent, without those that were taken
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        transport.set_write_buffer_limits(high=0)  # what is written goes to the kernel at once, if it takes it
        transport.set_protocol(self)

    @property
    def is_open(self) -> bool:
        """Return whether commands can be sent, as far as is known."""
        return self._error is None and not self.transport.is_closing()

    def send(self, *commands: bytes) -> None:
        """Send commands in one piece. Each gets a reply, in this order.

        Raises:
            OSError: the connection was lost.
            ValueError: a command holds a control character.
        """
        if any(CONTROL.search(command) for command in commands):
            raise ValueError("an SMTP command is one line")
        self.write(b"\r\n".join(commands) + b"\r\n")
        self._expected += len(commands)

    def write(self, data: bytes) -> None:
        """Write what is no command, or part of one.

        Raises:
            OSError: the connection was lost.
        """
        if self._error is not None:
            raise self._error
        if self.transport.is_closing():
            raise ConnectionResetError("the connection was lost")
        self.transport.write(data)

    async def written(self, seconds: float) -> None:
        """Wait until the kernel has taken everything that was written; not every transport has an event for it.

        Raises:
            TimeoutError: it has not within these seconds.
        """
        if not self.transport.get_write_buffer_size():
            return
        pause = 0.0
        async with asyncio.timeout(seconds):
            while self.transport.get_write_buffer_size():
                await asyncio.sleep(pause)
                pause = min(pause + 0.001, 0.02)

    async def reply(self, seconds: float) -> Reply:
        """Return the reply to the oldest command whose reply was not returned yet.

        Raises:
            OSError: the connection was lost, or what came is no reply.
            TimeoutError: there is none within these seconds.
        """
        if not self._replies:
            if self._error is not None:
                raise self._error
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(seconds):
                    await self._waiter
            finally:
                self._waiter = None
        self._expected -= 1
        return self._replies.popleft()

    async def quit(self, seconds: float) -> None:
        """Say goodbye, wait for the reply, and close."""
        try:
            self.send(b"QUIT")
            await self.reply(seconds)
        except (OSError, TimeoutError):
            pass  # the connection is closed either way
        finally:
            self.close()

    def leave(self) -> None:
        """Say goodbye and close, without waiting for the reply."""
        if self.is_open:
            self.send(b"QUIT")
        self.close()

    def close(self) -> None:
        """Close the connection. What was written before is still sent."""
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self._read(line)
        if len(self._buffer) + sum(len(line) + 1 for line in self._lines) > LONGEST_REPLY:
            self._fail(MalformedReply("the reply is too long"))

    def _read(self, line: bytes) -> None:
        if not CODE.match(line[:3]):
            text = line.decode("utf-8", "replace").strip()
            self._fail(MalformedReply(f"the server sent what is no reply: {text}"))
            return
        self._lines.append(line[4:].strip())
        if line[3:4] == b"-":
            return
        text = b"\n".join(self._lines).decode("utf-8", "surrogateescape")
        self._lines = []
        if len(self._replies) == self._expected:
            self._fail(MalformedReply(f"the server spoke unasked: {text}"))
            return
        self._replies.append(Reply(int(line[:3]), text))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc or ConnectionResetError("the connection was lost"))

    def _fail(self, error: Exception) -> None:
        """End the connection; replies that are complete may still be taken."""
        if self._error is None:
            self._error = error
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(self._error)
        self.transport.close()
