"""The steps of one SMTP dialogue (RFC 5321). Each returns when its step went well and raises `Ended` when not.

Before the final dot nothing is delivered, whatever goes wrong; after it only the server's answer says what happened.
So a lost connection is `withheld` before the dot and `unknown` after it.
"""

import asyncio
import re
import ssl
from typing import Literal, cast

import aiosmtplib
from aiosmtplib.errors import SMTPException, SMTPResponseException

from services.chassis.runtime import failpoint

Kind = Literal[
    "accepted",  # 2xx after the dot: the server has it
    "refused_for_now",  # 4xx to RCPT, DATA or the dot
    "refused",  # 5xx to RCPT, DATA or the dot: this mail, here, never
    "bad_address",  # 5xx to RCPT with a code that says the address itself is wrong
    "relay_unusable",  # connect, greeting, STARTTLS, AUTH, MAIL FROM: nobody's mail goes through
    "unknown",  # the dot was sent and no answer came: delivered, or not
    "withheld",  # the dot was not sent: `before_dot` said no, or the connection ended
]
Phase = Literal["address", "connect", "starttls", "auth", "mail", "rcpt", "data", "message", "check", "dot"]

BAD_ADDRESS = re.compile(r"5\.1\.(?:1|2|3|6|10)(?!\d)")  # RFC 3463 and 7505: about the mailbox, not about us
LEADING_DOT = re.compile(rb"(?m)^\.")
BROKEN = (SMTPException, OSError, TimeoutError, ssl.SSLError, ValueError)


class Ended(Exception):
    """The dialogue is over: `kind` says what that means, `phase` in which step, `code` and `answer` what was said."""

    def __init__(self, kind: Kind, phase: Phase, code: int | None = None, answer: str = "") -> None:
        self.kind, self.phase, self.code, self.answer = kind, phase, code, answer
        super().__init__(kind)


async def mail_from(client: aiosmtplib.SMTP, by: str, to: str, message: bytes) -> None:
    try:
        if client.is_ehlo_or_helo_needed:
            await client.ehlo()
        options = []
        if not (by + to).isascii() or not message.isascii():
            if not (client.supports_extension("smtputf8") and client.supports_extension("8bitmime")):
                raise Ended("refused", "address", None, "the relay does not take addresses beyond ASCII")
            options = [b"SMTPUTF8", b"BODY=8BITMIME"]
        code, answer = await client.execute_command(b"MAIL", f"FROM:<{by}>".encode(), *options)
    except BROKEN as error:
        raise Ended("relay_unusable", "mail", *told(error)) from None
    if code // 100 != 2:
        raise Ended("relay_unusable", "mail", code, answer)


async def rcpt_to(client: aiosmtplib.SMTP, to: str) -> None:
    try:
        code, answer = await client.execute_command(b"RCPT", f"TO:<{to}>".encode())
    except BROKEN as error:
        raise Ended("withheld", "rcpt", *told(error)) from None
    if code // 100 == 5 and BAD_ADDRESS.match(answer):
        raise Ended("bad_address", "rcpt", code, answer)
    if code // 100 != 2:
        raise Ended(_refusal(code), "rcpt", code, answer)


async def data(client: aiosmtplib.SMTP, message: bytes, seconds: float) -> None:
    """Everything up to the dot has left this process when this returns."""
    try:
        code, answer = await client.execute_command(b"DATA")
    except BROKEN as error:
        raise Ended("withheld", "data", *told(error)) from None
    if code != 354:
        raise Ended(_refusal(code), "data", code, answer)
    content = LEADING_DOT.sub(b"..", message)
    try:
        if client.protocol is None:
            raise aiosmtplib.SMTPServerDisconnected("Connection lost")
        client.protocol.write(content if content.endswith(b"\r\n") else content + b"\r\n")
        async with asyncio.timeout(seconds):
            await _written(client)
    except BROKEN as error:
        raise Ended("withheld", "message", *told(error)) from None


async def dot(client: aiosmtplib.SMTP, seconds: float) -> tuple[int, str]:
    if client.protocol is None or not client.is_connected:
        raise Ended("withheld", "message", None, "the connection was lost")
    answering = asyncio.create_task(client.protocol.execute_command(b".", timeout=seconds))
    try:
        await asyncio.sleep(0)  # the task writes now
        await _written(client)
        failpoint.reach("mailer.dot")
        code, answer = await answering
    except BROKEN as error:
        raise Ended("unknown", "dot", *told(error)) from None
    finally:
        answering.cancel()
    if code // 100 != 2:
        raise Ended(_refusal(code) if code // 100 in (4, 5) else "unknown", "dot", code, answer)
    return code, answer


async def _written(client: aiosmtplib.SMTP) -> None:
    """Wait until the kernel has taken everything; the library shows no event for it."""
    pause = 0.0
    while client.transport is not None and cast(asyncio.WriteTransport, client.transport).get_write_buffer_size():
        await asyncio.sleep(pause)
        pause = min(pause + 0.001, 0.02)


async def say_goodbye(client: aiosmtplib.SMTP) -> None:
    try:
        await client.quit(timeout=2)
    except BROKEN:
        pass  # it is gone either way
    finally:
        client.close()


def _refusal(code: int) -> Kind:
    return {4: "refused_for_now", 5: "refused"}.get(code // 100, "withheld")  # type: ignore[return-value]


def told(error: Exception) -> tuple[int | None, str]:
    if isinstance(error, SMTPResponseException):
        return (error.code if error.code > 0 else None), str(error.message)
    return None, f"{type(error).__name__}: {error}"
