"""Replies of a mail server: however they are cut into packets, each answers the oldest command without one."""

import asyncio
from typing import Any

import pytest

from services.chassis.mail.smtp_connection import LONGEST_REPLY, MalformedReply, SmtpConnection


class FakeTransport(asyncio.Transport):
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.closed = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high == 0

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        pass

    def write(self, data: Any) -> None:
        self.sent.append(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def transport() -> FakeTransport:
    return FakeTransport()


@pytest.fixture
def connection(transport: FakeTransport) -> SmtpConnection:
    return SmtpConnection(transport, ["pipelining"])


async def test_commands_that_are_sent_together_leave_in_one_piece(
    connection: SmtpConnection, transport: FakeTransport
) -> None:
    connection.send(b"MAIL FROM:<a@b>", b"RCPT TO:<c@d>")
    assert transport.sent == [b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"]


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
async def test_replies_come_in_the_order_of_the_commands(connection: SmtpConnection, size: int) -> None:
    said = b"250-2.1.0 ok\r\n250 go on\r\n550 5.1.1 no\r\n354\r\n"
    connection.send(b"MAIL", b"RCPT", b"DATA")
    for start in range(0, len(said), size):
        connection.data_received(said[start : start + size])
    assert [await connection.reply(1) for _ in range(3)] == [(250, "2.1.0 ok\ngo on"), (550, "5.1.1 no"), (354, "")]
    assert connection.is_open


async def test_a_reply_that_is_waited_for_arrives(connection: SmtpConnection) -> None:
    connection.send(b"DATA")
    waiting = asyncio.create_task(connection.reply(5))
    await asyncio.sleep(0)
    connection.data_received(b"354 go on\r\n")
    assert await waiting == (354, "go on")
    with pytest.raises(TimeoutError):
        await connection.reply(0.01)


async def test_replies_that_came_before_the_end_are_still_read(connection: SmtpConnection) -> None:
    connection.send(b"MAIL", b"RCPT")
    connection.data_received(b"250 ok\r\n55")
    connection.connection_lost(None)
    assert (await connection.reply(1)).code == 250
    with pytest.raises(ConnectionResetError):
        await connection.reply(1)
    with pytest.raises(ConnectionResetError):
        connection.send(b"DATA")
    assert not connection.is_open


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"nonsense\r\n", "is no reply: nonsense"),
        (b"25\r\n", "is no reply"),
        (b"\xd9\xa1\xd9\xa2\xd9\xa3 digits\r\n", "is no reply"),
        (b"250-" + b"x" * LONGEST_REPLY, "too long"),
        (b"250-x\r\n" * LONGEST_REPLY, "too long"),
    ],
)
async def test_what_is_no_reply_ends_the_connection(
    connection: SmtpConnection, transport: FakeTransport, said: bytes, error: str
) -> None:
    connection.send(b"MAIL")
    connection.data_received(said)
    with pytest.raises(MalformedReply, match=error):
        await connection.reply(1)
    assert transport.closed


async def test_a_server_that_speaks_unasked_is_not_understood_as_an_answer(connection: SmtpConnection) -> None:
    """A farewell on an idle connection must not become the answer to the next command."""
    connection.data_received(b"421 4.4.2 idle too long\r\n")
    assert not connection.is_open
    with pytest.raises(MalformedReply, match="unasked"):
        connection.send(b"MAIL")


@pytest.mark.parametrize("command", [b"RCPT TO:<a@b>\r\nDATA", b"MAIL\0", b"MAIL\n", b"MAIL\x7f"])
async def test_a_command_is_one_line(connection: SmtpConnection, transport: FakeTransport, command: bytes) -> None:
    with pytest.raises(ValueError, match="one line"):
        connection.send(b"MAIL", command)
    assert transport.sent == []
