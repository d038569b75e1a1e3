"""The steps of one SMTP dialogue (RFC 5321) about one message to one recipient.

Before the final dot nothing is delivered, whatever goes wrong; after it only the mail server's answer says what
happened. So a lost connection means `withheld` before the dot and `unknown` after it.
"""

import re
import ssl
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from aiosmtplib.errors import SMTPException, SMTPResponseException

from services.chassis.mail.addresses import envelope_address, without_addresses
from services.chassis.mail.smtp_connection import SmtpConnection
from services.chassis.runtime import failpoint

Kind = Literal[
    "accepted",  # 2xx after the dot: the mail server has it
    "refused_for_now",  # 4xx to RCPT, DATA or the dot
    "refused",  # 5xx to RCPT, DATA or the dot: this mail, here, never
    "bad_address",  # 5xx to RCPT with a code that says the address itself is wrong
    "server_unusable",  # connect, greeting, STARTTLS, AUTH, MAIL FROM: the mail server takes no mail at all
    "server_full",  # 4xx there while other dialogues are open: it takes no more of them at once
    "unknown",  # delivered, or not
    "withheld",  # not delivered: the caller left before the dot, or the connection ended
]
# `check`: the caller left before the dot
Phase = Literal["address", "connect", "starttls", "auth", "mail", "rcpt", "data", "message", "check", "dot"]

BAD_ADDRESS = re.compile(r"5\.1\.(?:1|2|3|6|10)(?!\d)")  # RFC 3463 and 7505: about the mailbox, not about us
BROKEN = (SMTPException, OSError, TimeoutError, ssl.SSLError, ValueError)


@dataclass(frozen=True)
class Outcome:
    """How a dialogue ended.

    Attributes:
        phase: the step it ended in.
        code: the mail server's reply code, if it answered.
        answer: the mail server's text, one line, without anything that looks like an address.
        others: how many dialogues were open when it took no more of them.
    """

    kind: Kind
    phase: Phase
    code: int | None = None
    answer: str = ""
    others: int = 0

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
        self._connection: SmtpConnection | None = None
        self._has_sent_rcpt = False
        self._dot_may_follow = False
        self.outcome = Outcome("withheld", "check")

    @property
    def connection(self) -> SmtpConnection:
        """The connection on which MAIL was sent."""
        if self._connection is None:
            raise RuntimeError("MAIL comes first")
        return self._connection

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

    async def mail(self, connection: SmtpConnection) -> None:
        """Send MAIL FROM on this connection, and RCPT TO with it if the server takes both at once (RFC 2920).

        Whatever RCPT is answered, a refused MAIL ends the dialogue first, and nothing was delivered.
        """
        self._connection, self._has_sent_rcpt = connection, "pipelining" in connection.extensions
        commands = [self._mail_command(connection.extensions), self._rcpt_command()]
        try:
            connection.send(*commands if self._has_sent_rcpt else commands[:1])
            code, answer = await connection.reply(self._step_seconds)
        except BROKEN as error:
            raise self.ended_by("server_unusable", "mail", error) from None
        if code // 100 != 2:
            raise self.ended("server_unusable", "mail", code, answer)

    def _mail_command(self, extensions: Collection[str]) -> bytes:
        command = f"MAIL FROM:<{self._sender_address}>".encode()
        if (self._sender_address + self._recipient_address).isascii() and self._content.isascii():
            return command
        if not {"smtputf8", "8bitmime"} <= set(extensions):
            raise self.ended("refused", "address", None, "the server does not take non-ASCII addresses")
        return command + b" SMTPUTF8 BODY=8BITMIME"

    def _rcpt_command(self) -> bytes:
        return f"RCPT TO:<{self._recipient_address}>".encode()

    async def rcpt(self) -> None:
        """Send RCPT TO, unless it went with MAIL, and take its reply."""
        try:
            if not self._has_sent_rcpt:
                self.connection.send(self._rcpt_command())
            code, answer = await self.connection.reply(self._step_seconds)
        except BROKEN as error:
            raise self.ended_by("withheld", "rcpt", error) from None
        if code // 100 == 5 and BAD_ADDRESS.match(answer):
            raise self.ended("bad_address", "rcpt", code, answer)
        if code // 100 != 2:
            raise self.ended(_refusal(code, "withheld"), "rcpt", code, answer)

    async def data(self) -> None:
        """Send DATA and the message; return when everything before the dot has left this process."""
        connection = self.connection
        try:
            connection.send(b"DATA")
            code, answer = await connection.reply(self._step_seconds)
        except BROKEN as error:
            raise self.ended_by("withheld", "data", error) from None
        if code != 354:
            raise self.ended(_refusal(code, "withheld"), "data", code, answer)
        content = (b"\r\n" + self._content).replace(b"\r\n.", b"\r\n..")[2:]
        try:
            connection.write(content if content.endswith(b"\r\n") else content + b"\r\n")
            await connection.written(self._step_seconds)
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
        connection = self.connection
        if not connection.is_open:
            raise self.ended("withheld", "message", None, "the connection was lost")
        self.outcome = Outcome("unknown", "dot")
        try:
            connection.send(b".")
            await connection.written(self._dot_seconds)
            failpoint.reach("mailer.dot")
            code, answer = await connection.reply(self._dot_seconds)
        except BROKEN as error:
            raise self.ended_by("unknown", "dot", error) from None
        if code // 100 != 2:
            raise self.ended(_refusal(code, "unknown"), "dot", code, answer)
        self.outcome = Outcome("accepted", "dot", code, without_addresses(answer, self._sender, self._recipient))
        return self.outcome


def _refusal(code: int, otherwise: Kind) -> Kind:
    """Return what a refusal means by its code; `otherwise` for a code that is not allowed here."""
    refusals: dict[int, Kind] = {4: "refused_for_now", 5: "refused"}
    return refusals.get(code // 100, otherwise)
