"""Delivers mail to a relay, and tells apart how a delivery ended, because what happens next depends on it.

Before the final dot nothing is delivered, whatever goes wrong; after it only the server's answer says what happened.
So the last check is made when the whole message has left and only the dot is missing, and a lost connection is
`withheld` before the dot and `unknown` after it.
"""

import asyncio
import re
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

import aiosmtplib
import structlog
from prometheus_client import Counter
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.chassis.mail.addresses import envelope_address, without_addresses
from services.chassis.mail.smtp_dialogue import (
    BROKEN,
    Ended,
    Kind,
    Phase,
    data,
    dot,
    mail_from,
    rcpt_to,
    say_goodbye,
    told,
)
from services.chassis.runtime import failpoint

log = structlog.get_logger(__name__)

STRAY_LINE_BREAK = re.compile(rb"(?<!\r)\n|\r(?!\n)")
HOST_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?\Z")
IDLE_SECONDS = 15.0

OUTCOMES = Counter("rapport_smtp_outcomes", "SMTP dialogues by how and where they ended.", ["kind", "phase"])


class SmtpSettings(BaseSettings):
    """The relay that takes our mail.

    Attributes:
        smtp_security: `starttls` and `tls` verify the server's name; `none` is for development.
        smtp_ca_file: who is trusted to certify the relay, when the system's own list does not know it.
        smtp_timeout_seconds: for every step but the last.
        smtp_dot_timeout_seconds: how long to wait for the answer to the final dot; less makes duplicates
            (RFC 5321, 4.5.3.2.6; RFC 1047).
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    smtp_host: str = "127.0.0.1"
    smtp_port: int = 2525
    smtp_username: str | None = None
    smtp_password: str = Field(default="", repr=False)
    smtp_security: Literal["none", "starttls", "tls"] = "none"
    smtp_ca_file: str | None = None
    smtp_timeout_seconds: float = 60.0
    smtp_dot_timeout_seconds: float = 600.0


@dataclass(frozen=True)
class Outcome:
    """How a dialogue ended.

    Attributes:
        phase: the step it ended in.
        code: the server's three digits, if it answered.
        answer: the server's words, one line, without anything that looks like an address.
    """

    kind: Kind
    phase: Phase
    code: int | None = None
    answer: str = ""


class Smtp:
    """Delivers single messages. Several dialogues may run at once; connections that ended well are used again."""

    def __init__(self, settings: SmtpSettings) -> None:
        self._settings = settings
        self._idle: list[tuple[aiosmtplib.SMTP, float]] = []
        name = socket.gethostname()
        self._own_name = name if HOST_NAME.match(name) else "localhost"
        self._tls: ssl.SSLContext | None = None

    async def close(self) -> None:
        """Say goodbye on every idle connection."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(say_goodbye(client) for client, _ in idle))

    async def deliver(
        self,
        sender: str,
        recipient: str,
        message: bytes,
        *,
        before_dot: Callable[[], Awaitable[bool]],
        before_data: Callable[[], Awaitable[bool]] | None = None,
    ) -> Outcome:
        """Hand one message to the relay, for one recipient.

        Args:
            message: with CRLF line ends, as `mail.compose` makes it.
            before_dot: asked once, when everything but the final dot has left; False breaks the dialogue off.
            before_data: the same, asked just before DATA, when nothing of the message has left yet.

        Raises:
            ValueError: the message holds a bare CR or LF.
            Exception: whatever `before_data` or `before_dot` raised; the dot was not sent.
        """
        if STRAY_LINE_BREAK.search(message):
            raise ValueError("a message for SMTP must have CRLF line ends only")
        try:
            outcome = await self._attempt(sender, recipient, message, before_data, before_dot)
        except Ended as end:
            outcome = Outcome(end.kind, end.phase, end.code, without_addresses(end.answer, sender, recipient))
        OUTCOMES.labels(outcome.kind, outcome.phase).inc()
        return outcome

    async def _attempt(
        self,
        sender: str,
        recipient: str,
        message: bytes,
        before_data: Callable[[], Awaitable[bool]] | None,
        before_dot: Callable[[], Awaitable[bool]],
    ) -> Outcome:
        try:
            by, to = envelope_address(sender), envelope_address(recipient)
        except ValueError as error:
            raise Ended("refused", "address", None, str(error)) from None
        client = await self._begin(by, to, message)
        well = False
        try:
            await rcpt_to(client, to)
            failpoint.reach("mailer.rcpt")
            if before_data is not None and not await before_data():
                raise Ended("withheld", "check", None, "the last check said no")
            await data(client, message, self._settings.smtp_timeout_seconds)
            if not await before_dot():
                raise Ended("withheld", "check", None, "the last check said no")
            failpoint.reach("mailer.data")
            code, answer = await dot(client, self._settings.smtp_dot_timeout_seconds)
            well = True
        finally:
            if well and client.is_connected:
                self._idle.append((client, time.monotonic()))
            else:
                client.close()
        return Outcome("accepted", "dot", code, without_addresses(answer, sender, recipient))

    async def _begin(self, by: str, to: str, message: bytes) -> aiosmtplib.SMTP:
        """A connection whose MAIL FROM was accepted."""
        while self._idle:
            client, since = self._idle.pop()
            if client.is_connected and time.monotonic() - since < IDLE_SECONDS:
                try:
                    await mail_from(client, by, to, message)
                    return client
                except Ended:
                    log.info("an idle connection to the relay had ended")
                except BaseException:
                    client.close()
                    raise
            client.close()
        client = await self._connect()
        try:
            await mail_from(client, by, to, message)
        except BaseException:
            client.close()
            raise
        return client

    async def _connect(self) -> aiosmtplib.SMTP:
        settings = self._settings
        phase: Phase = "connect"
        if self._tls is None and settings.smtp_security != "none":
            self._tls = await asyncio.to_thread(ssl.create_default_context, cafile=settings.smtp_ca_file)
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
        except BROKEN as error:
            client.close()
            raise Ended("relay_unusable", phase, *told(error)) from None
        except BaseException:
            client.close()
            raise
        return client
