"""The steps of one SMTP dialogue (RFC 5321) about one message to one recipient.

Before the final dot nothing is delivered, whatever goes wrong; after it only the mail server's answer says what
happened. So a lost connection means `withheld` before the dot and `unknown` after it.
"""

import asyncio
import re
import ssl
from dataclasses import dataclass
from typing import Literal, cast

import aiosmtplib
from aiosmtplib.errors import SMTPException, SMTPResponseException

from services.chassis.mail.addresses import envelope_address, without_addresses
from services.chassis.runtime import failpoint

Kind = Literal[
    "accepted",  # 2xx after the dot: the mail server has it
    "refused_for_now",  # 4xx to RCPT, DATA or the dot
    "refused",  # 5xx to RCPT, DATA or the dot: this mail, here, never
    "bad_address",  # 5xx to RCPT with a code that says the address itself is wrong
    "server_unusable",  # connect, greeting, STARTTLS, AUTH, MAIL FROM: the mail server takes no mail at all
    "unknown",  # delivered, or not
    "withheld",  # not delivered: the caller left before the dot, or the connection ended
]
# `check`: the caller left before the dot
Phase = Literal["address", "connect", "starttls", "auth", "mail", "rcpt", "data", "message", "check", "dot"]

BAD_ADDRESS = re.compile(r"5\.1\.(?:1|2|3|6|10)(?!\d)")  # RFC 3463 and 7505: about the mailbox, not about us
LEADING_DOT = re.compile(rb"(?m)^\.")
BROKEN = (SMTPException, OSError, TimeoutError, ssl.SSLError, ValueError)


@dataclass(frozen=True)
class Outcome:
    """How a dialogue ended.

    Attributes:
        phase: the step it ended in.
        code: the mail server's reply code, if it answered.
        answer: the mail server's text, one line, without anything that looks like an address.
    """

    kind: Kind
    phase: Phase
    code: int | None = None
    answer: str = ""

    @property
    def reply(self) -> str:
        """Return code and text of the mail server's answer in one line."""
        return f"{self.code or ''} {self.answer}".strip()


class DialogueEnded(Exception):
    """A step ended the dialogue; no other step may follow."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        super().__init__(outcome.kind)


class Dialogue:
    """A dialogue about one message. Its steps are `mail`, `rcpt`, `data` and `dot`, in this order.

    A step returns when it went well, and raises `DialogueEnded` when not.

    Args:
        content: the message; its lines end in CRLF.
        step_seconds: as `smtp_timeout_seconds`.
        dot_seconds: as `smtp_dot_timeout_seconds`.

    Attributes:
        outcome: what it means if the dialogue ends now.
    """

    def __init__(self, sender: str, recipient: str, content: bytes, *, step_seconds: float, dot_seconds: float) -> None:
        self._sender = sender
        self._recipient = recipient
        self._content = content
        self._step_seconds = step_seconds
        self._dot_seconds = dot_seconds
        self._sender_address = self._recipient_address = ""
        self._client: aiosmtplib.SMTP | None = None
        self._dot_may_follow = False
        self.outcome = Outcome("withheld", "check")

    @property
    def client(self) -> aiosmtplib.SMTP:
        """The connection on which MAIL was sent."""
        if self._client is None:
            raise RuntimeError("MAIL comes first")
        return self._client

    def ended(self, kind: Kind, phase: Phase, code: int | None = None, answer: str = "") -> DialogueEnded:
        """Return the exception that ends this dialogue; addresses are removed from the answer."""
        return DialogueEnded(Outcome(kind, phase, code, without_addresses(answer, self._sender, self._recipient)))

    def ended_by(self, kind: Kind, phase: Phase, error: Exception) -> DialogueEnded:
        """Return the exception that ends this dialogue after an error of the connection."""
        if isinstance(error, SMTPResponseException):
            return self.ended(kind, phase, error.code if error.code > 0 else None, str(error.message))
        return self.ended(kind, phase, None, f"{type(error).__name__}: {error}")

    def prepare_addresses(self) -> None:
        """Derive the envelope addresses of sender and recipient."""
        try:
            self._sender_address = envelope_address(self._sender)
            self._recipient_address = envelope_address(self._recipient)
        except ValueError as error:
            raise self.ended("refused", "address", None, str(error)) from None

    async def mail(self, client: aiosmtplib.SMTP) -> None:
        """Send MAIL FROM on this connection, after EHLO if that was not sent yet."""
        self._client = client
        try:
            if client.is_ehlo_or_helo_needed:
                await client.ehlo()
            options = []
            if not (self._sender_address + self._recipient_address).isascii() or not self._content.isascii():
                if not (client.supports_extension("smtputf8") and client.supports_extension("8bitmime")):
                    raise self.ended("refused", "address", None, "the server does not take non-ASCII addresses")
                options = [b"SMTPUTF8", b"BODY=8BITMIME"]
            argument = f"FROM:<{self._sender_address}>".encode()
            code, answer = await client.execute_command(b"MAIL", argument, *options)
        except BROKEN as error:
            raise self.ended_by("server_unusable", "mail", error) from None
        if code // 100 != 2:
            raise self.ended("server_unusable", "mail", code, answer)

    async def rcpt(self) -> None:
        """Send RCPT TO."""
        try:
            code, answer = await self.client.execute_command(b"RCPT", f"TO:<{self._recipient_address}>".encode())
        except BROKEN as error:
            raise self.ended_by("withheld", "rcpt", error) from None
        if code // 100 == 5 and BAD_ADDRESS.match(answer):
            raise self.ended("bad_address", "rcpt", code, answer)
        if code // 100 != 2:
            raise self.ended(_refusal(code, "withheld"), "rcpt", code, answer)

    async def data(self) -> None:
        """Send DATA and the message; return when everything before the dot has left this process."""
        client = self.client
        try:
            code, answer = await client.execute_command(b"DATA")
        except BROKEN as error:
            raise self.ended_by("withheld", "data", error) from None
        if code != 354:
            raise self.ended(_refusal(code, "withheld"), "data", code, answer)
        content = LEADING_DOT.sub(b"..", self._content)
        try:
            if client.protocol is None:
                raise aiosmtplib.SMTPServerDisconnected("Connection lost")
            client.protocol.write(content if content.endswith(b"\r\n") else content + b"\r\n")
            async with asyncio.timeout(self._step_seconds):
                await _written(client)
        except BROKEN as error:
            raise self.ended_by("withheld", "message", error) from None
        self._dot_may_follow = True

    async def dot(self) -> Outcome:
        """Send the final dot and return the mail server's answer, if it accepted the message.

        A cancellation too makes the outcome `unknown` from here on.
        """
        if not self._dot_may_follow:
            raise RuntimeError("the dot follows DATA, once")
        self._dot_may_follow = False
        client = self.client
        if client.protocol is None or not client.is_connected:
            raise self.ended("withheld", "message", None, "the connection was lost")
        self.outcome = Outcome("unknown", "dot")
        answering = asyncio.create_task(client.protocol.execute_command(b".", timeout=self._dot_seconds))
        try:
            await asyncio.sleep(0)  # the task writes now
            async with asyncio.timeout(self._dot_seconds):
                await _written(client)
            failpoint.reach("mailer.dot")
            code, answer = await answering
        except BROKEN as error:
            raise self.ended_by("unknown", "dot", error) from None
        finally:
            answering.cancel()
        if code // 100 != 2:
            raise self.ended(_refusal(code, "unknown"), "dot", code, answer)
        self.outcome = Outcome("accepted", "dot", code, without_addresses(answer, self._sender, self._recipient))
        return self.outcome


async def _written(client: aiosmtplib.SMTP) -> None:
    """Wait until the kernel has taken everything that was written; the library has no event for it."""
    pause = 0.0
    while client.transport is not None and cast(asyncio.WriteTransport, client.transport).get_write_buffer_size():
        await asyncio.sleep(pause)
        pause = min(pause + 0.001, 0.02)


def _refusal(code: int, otherwise: Kind) -> Kind:
    """Return what a refusal means by its code; `otherwise` for a code that is not allowed here."""
    refusals: dict[int, Kind] = {4: "refused_for_now", 5: "refused"}
    return refusals.get(code // 100, otherwise)
