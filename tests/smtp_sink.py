"""An SMTP server for tests. It keeps the mails it gets and answers each phase as a test sets it."""

import asyncio
import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from ssl import SSLContext, SSLError

from tests.servers import free_port
from tests.waiting import eventually

STALL = "stall"  # never answer
RESET = "reset"  # break the connection with a TCP reset
CLOSE = "close"  # end the connection in order

USUAL = {
    "connect": "220 sink.test ESMTP",
    "ehlo": "250 sink.test",
    "starttls": "220 2.0.0 go on",
    "auth": "235 2.7.0 welcome",
    "mail": "250 2.1.0 ok",
    "rcpt": "250 2.1.5 ok",
    "data": "354 go on",
    "dot": "250 2.0.0 kept",
    "rset": "250 2.0.0 ok",
    "noop": "250 2.0.0 ok",
    "quit": "221 2.0.0 bye",
}


@dataclass(frozen=True)
class Mail:
    """One mail whose final dot was answered with 250."""

    sender: str
    recipients: list[str]
    content: bytes
    received_at: float = field(default_factory=time.time)

    @property
    def message(self) -> EmailMessage:
        return message_from_bytes(self.content, policy=policy.default)

    @property
    def text(self) -> str:
        """The plain text part, decoded."""
        part = self.message.get_body(("plain",))
        return "" if part is None else str(part.get_content())


@dataclass
class SmtpSink:
    """An SMTP server; `listening` runs one. `answers` replaces the usual answers, by phase; `delays` makes them late.

    Phases: `connect`, `ehlo`, `starttls` (where it is offered), `auth`, `mail`, `rcpt`, `data`, `body` (reached with
    the first line after 354), `dot` (after the final dot), `rset`, `quit`. An answer is a reply line, STALL, RESET or
    CLOSE. At `dot` only a 2xx keeps the mail in `messages`; a mail whose dot came and has no such answer is in
    `unanswered`.
    """

    port: int = 0
    tls: SSLContext | None = None
    messages: list[Mail] = field(default_factory=list)
    unanswered: list[Mail] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    delays: dict[str, float] = field(default_factory=dict)
    offers: list[str] = field(default_factory=lambda: ["PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"])
    seen: list[str] = field(default_factory=list)
    _queued: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    _passed: Counter[str] = field(default_factory=Counter)
    _sessions: "set[asyncio.Task[None]]" = field(default_factory=set)
    _server: asyncio.Server | None = None

    @property
    def dialogues(self) -> int:
        """Return how many clients are connected now."""
        return len(self._sessions)

    def once(self, phase: str, *answers: str) -> None:
        """Give these answers the next times this phase is reached, then answer as before."""
        self._queued[phase].extend(answers)

    def reset(self) -> None:
        """Forget mails and answers."""
        self.messages.clear()
        self.unanswered.clear()
        self.answers.clear()
        self.delays.clear()
        self.seen.clear()
        self._queued.clear()

    def to(self, address: str) -> list[Mail]:
        """Return the mails that arrived for one address."""
        return [mail for mail in self.messages if address.lower() in (each.lower() for each in mail.recipients)]

    async def wait_for(self, count: int, timeout: float = 10) -> list[Mail]:
        """Wait until there are at least `count` mails; return them."""
        await eventually(lambda: len(self.messages) >= count, timeout)
        return list(self.messages)

    def reached(self, phase: str) -> int:
        """Return how often a phase was reached so far."""
        return self._passed[phase]

    def _answer(self, phase: str) -> str:
        queued = self._queued.get(phase)
        return queued.pop(0) if queued else self.answers.get(phase, USUAL.get(phase, ""))

    async def _say(self, phase: str, writer: asyncio.StreamWriter, mail: Mail | None = None) -> bool:
        """Answer this phase; return whether the reply was positive. Then `mail` is kept, even if the client is gone."""
        self._passed[phase] += 1
        answer = self._answer(phase)
        await asyncio.sleep(self.delays.get(phase, 0))
        if answer == STALL:
            await asyncio.Event().wait()
        if answer == RESET:
            writer.transport.abort()
            raise ConnectionResetError
        if answer == CLOSE:
            raise EOFError
        if phase == "ehlo" and answer.startswith("250 "):
            lines = [answer[4:], *self.offers]
            answer = "\r\n".join(f"250{'-' if at < len(lines) - 1 else ' '}{line}" for at, line in enumerate(lines))
        if mail is not None and answer.startswith("2"):
            self.unanswered.remove(mail)
            self.messages.append(mail)
        writer.write(answer.encode() + b"\r\n")
        await writer.drain()
        if answer.startswith("421"):
            raise EOFError
        return answer[0] in "23"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._sessions.add(task)
        try:
            await self._session(reader, writer)
        except (EOFError, ConnectionError, asyncio.IncompleteReadError, SSLError, asyncio.CancelledError):
            return  # either side ended the dialogue
        finally:
            self._sessions.discard(task)
            writer.close()

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sender, recipients = "", list[str]()
        if not await self._say("connect", writer):
            return
        while line := await reader.readline():
            text = line.decode("utf-8", "replace").strip()
            verb, _, rest = text.partition(" ")
            self.seen.append(text)
            match verb.upper():
                case "EHLO" | "HELO":
                    await self._say("ehlo", writer)
                case "STARTTLS" if "STARTTLS" in self.offers:
                    if await self._say("starttls", writer) and self.tls is not None:
                        await writer.start_tls(self.tls)
                case "AUTH":
                    if rest.upper() == "LOGIN":
                        for prompt in (b"334 VXNlcm5hbWU6\r\n", b"334 UGFzc3dvcmQ6\r\n"):
                            writer.write(prompt)
                            await reader.readline()
                    await self._say("auth", writer)
                case "MAIL":
                    sender, recipients = _path(rest), []
                    await self._say("mail", writer)
                case "RCPT":
                    if await self._say("rcpt", writer):
                        recipients.append(_path(rest))
                case "DATA":
                    if await self._say("data", writer):
                        mail = Mail(sender, recipients, await self._body(reader, writer))
                        self.unanswered.append(mail)
                        await self._say("dot", writer, mail)
                case "QUIT":
                    await self._say("quit", writer)
                    return
                case "RSET" | "NOOP":
                    await self._say(verb.lower(), writer)
                case _:
                    writer.write(b"500 5.5.1 unknown command\r\n")

    async def _body(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        lines: list[bytes] = []
        while (line := await reader.readline()) != b".\r\n":
            if not line:
                raise EOFError
            if not lines and ("body" in self.answers or self._queued.get("body")):
                await self._say("body", writer)
            lines.append(line.removeprefix(b"."))
        return b"".join(lines)

    async def open(self) -> None:
        """Listen, at the same port every time."""
        self.port = self.port or free_port()  # it stays reserved while the sink is closed
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=1 << 20)

    async def close(self) -> None:
        """End all dialogues and refuse new ones."""
        assert self._server is not None
        self._server.close()
        await self.hang_up()
        await self._server.wait_closed()

    @asynccontextmanager
    async def gone(self) -> AsyncIterator[None]:
        """Close the port inside the block."""
        await self.close()
        try:
            yield
        finally:
            await self.open()

    async def hang_up(self) -> None:
        """End all dialogues at once."""
        for task in list(self._sessions):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def _path(rest: str) -> str:
    """Return the address between the angle brackets of `FROM:<…>` or `TO:<…>`."""
    return rest.partition("<")[2].partition(">")[0]


@asynccontextmanager
async def listening(port: int = 0, tls: SSLContext | None = None) -> AsyncIterator[SmtpSink]:
    """Run a sink on 127.0.0.1 in the running event loop. With `tls` it offers STARTTLS."""
    sink = SmtpSink(port, tls=tls)
    if tls is not None:
        sink.offers.append("STARTTLS")
    await sink.open()
    try:
        yield sink
    finally:
        await sink.close()
