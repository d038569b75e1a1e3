"""Deliver mail to a mail server over reused connections, and count how each dialogue ended."""

import asyncio
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Literal, cast

import aiosmtplib
import structlog
from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.chassis.mail.smtp_connection import SmtpConnection
from services.chassis.mail.smtp_dialogue import BROKEN, Dialogue, DialogueEnded, Phase
from services.chassis.runtime.metrics import Counter
from services.chassis.runtime.secret_files import FromEnvironment
from services.chassis.runtime.setting_types import AuthoritiesFile, Port, Seconds, Text

log = structlog.get_logger(__name__)

HOST_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?\Z")
IDLE_SECONDS = 15.0
QUIT_SECONDS = 2.0

OUTCOMES = Counter("rapport_smtp_outcomes", "SMTP dialogues by how and where they ended.", ["kind", "phase"])


class SmtpSettings(FromEnvironment):
    """The mail server that takes our mail. Only a process that sends mail reads these.

    Attributes:
        smtp_security: `starttls` and `tls` verify the server's name; `none` is for development.
        smtp_ca_file: certificates that are trusted instead of the system's list.
        smtp_timeout_seconds: for every step but the last.
        smtp_dot_timeout_seconds: how long to wait for the answer to the final dot; less makes duplicates
            (RFC 5321, 4.5.3.2.6; RFC 1047).
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    smtp_host: Text = "127.0.0.1"
    smtp_port: Port = 2525
    smtp_username: str | None = None
    smtp_password: str = Field(default="", repr=False)
    smtp_security: Literal["none", "starttls", "tls"] = "none"
    smtp_ca_file: AuthoritiesFile = ""
    smtp_timeout_seconds: Seconds = 60.0
    smtp_dot_timeout_seconds: Seconds = 600.0


class Smtp:
    """Delivers single messages over connections that are used again when a dialogue ended well.

    It bounds no number of dialogues at once: each mailer keeps to its own `*_mail_connections`.

    Attributes:
        open_dialogues: how many there are whose MAIL was accepted.
    """

    def __init__(self, settings: SmtpSettings) -> None:
        self._settings = settings
        self._idle: list[tuple[SmtpConnection, float]] = []  # the one used last at the end
        self._closing: asyncio.TimerHandle | None = None
        self.open_dialogues = 0
        name = socket.gethostname()
        self._own_name = name if HOST_NAME.match(name) else "localhost"
        self._tls: ssl.SSLContext | None = None

    async def close(self) -> None:
        """Send QUIT on every idle connection."""
        idle, self._idle = self._idle, []
        if self._closing is not None:
            self._closing.cancel()
        await asyncio.gather(*(connection.quit(QUIT_SECONDS) for connection, _ in idle))

    @asynccontextmanager
    async def dialogue(
        self, sender: str, recipient: str, content: bytes, *, seconds: float | None = None
    ) -> AsyncIterator[Dialogue]:
        """Open a dialogue about one message to one recipient: connect, send MAIL and RCPT. DATA and the dot follow.

            async with smtp.dialogue(sender, recipient, content) as dialogue:
                await dialogue.data()
                outcome = await dialogue.dot()

        Leaving the block without an accepted dot closes the connection, so that nothing is delivered by accident.

        Args:
            content: as `message.compose` makes it.
            seconds: bounds the whole block.

        Raises:
            ValueError: the message has a bare CR or LF.
            DialogueEnded: a step failed, or the time is over.
        """
        # A pattern for stray line breaks takes 30 times as long.
        if not content.count(b"\r") == content.count(b"\r\n") == content.count(b"\n"):
            raise ValueError("a message for SMTP must have CRLF line ends only")
        settings = self._settings
        dialogue = Dialogue(
            sender,
            recipient,
            content,
            step_seconds=settings.smtp_timeout_seconds,
            dot_seconds=settings.smtp_dot_timeout_seconds,
        )
        try:
            async with asyncio.timeout(seconds) as bound:
                dialogue.prepare_addresses()
                connection = await self._begin(dialogue)
                self.open_dialogues += 1
                try:
                    await dialogue.rcpt()
                    yield dialogue
                finally:
                    self.open_dialogues -= 1
                    if dialogue.outcome.kind == "accepted" and connection.is_open:
                        self._keep(connection)
                    else:
                        connection.close()
        except DialogueEnded as end:
            dialogue.outcome = end.outcome
            raise
        except TimeoutError:
            if not bound.expired():
                raise
            phase: Phase = "message" if dialogue.outcome.kind == "withheld" else "dot"
            dialogue.outcome = replace(dialogue.outcome, phase=phase)
            raise DialogueEnded(dialogue.outcome) from None
        finally:
            OUTCOMES.labels(dialogue.outcome.kind, dialogue.outcome.phase).inc()

    def _keep(self, connection: SmtpConnection) -> None:
        """Keep a connection for the next dialogue; it is closed when none has come in time."""
        self._idle.append((connection, time.monotonic()))
        if self._closing is None:
            self._closing = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._close_idle)

    def _close_idle(self) -> None:
        bound = time.monotonic() - IDLE_SECONDS
        while self._idle and self._idle[0][1] <= bound:
            self._idle.pop(0)[0].leave()
        self._closing = None
        if self._idle:
            seconds = self._idle[0][1] - bound
            self._closing = asyncio.get_running_loop().call_later(seconds, self._close_idle)

    async def _begin(self, dialogue: Dialogue) -> SmtpConnection:
        """Return a connection on which MAIL FROM was accepted."""
        while self._idle:
            connection, since = self._idle.pop()
            if connection.is_open and time.monotonic() - since < IDLE_SECONDS:
                try:
                    await dialogue.mail(connection)
                    return connection
                except DialogueEnded:
                    log.info("a kept connection to the mail server could not be used again")
                except BaseException:
                    connection.close()
                    raise
            connection.close()
        try:
            return await self._begin_anew(dialogue)
        except DialogueEnded as end:
            others = self.open_dialogues
            if others and end.outcome.kind == "server_unusable" and (end.outcome.code or 0) // 100 == 4:
                raise DialogueEnded(replace(end.outcome, kind="server_full", others=others)) from None
            raise

    async def _begin_anew(self, dialogue: Dialogue) -> SmtpConnection:
        connection = await self._connect(dialogue)
        try:
            await dialogue.mail(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    async def _connect(self, dialogue: Dialogue) -> SmtpConnection:
        settings = self._settings
        phase: Phase = "connect"
        if self._tls is None and settings.smtp_security != "none":
            self._tls = await asyncio.to_thread(ssl.create_default_context, cafile=settings.smtp_ca_file or None)
        client = aiosmtplib.SMTP(
            hostname=settings.smtp_host,
            port=settings.smtp_port,
            local_hostname=self._own_name,
            timeout=settings.smtp_timeout_seconds,
            use_tls=settings.smtp_security == "tls",
            start_tls=False,
            tls_context=self._tls,
        )
        try:
            await client.connect()
            if settings.smtp_security == "starttls":
                phase = "starttls"
                await client.starttls()
            if settings.smtp_username:
                phase = "auth"
                await client.login(settings.smtp_username, settings.smtp_password)
            phase = "mail"
            if client.is_ehlo_or_helo_needed:
                await client.ehlo()
            if client.transport is None:
                raise aiosmtplib.SMTPServerDisconnected("Connection lost")
            return SmtpConnection(cast(asyncio.Transport, client.transport), client.esmtp_extensions)
        except BROKEN as error:
            client.close()
            raise dialogue.ended_by("server_unusable", phase, error) from None
        except BaseException:
            client.close()
            raise
