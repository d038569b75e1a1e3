"""Every way an SMTP dialogue can end, against a real server over real sockets."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP as Server
from aiosmtpd.smtp import Envelope, Session

from services.chassis.mail import smtp
from services.chassis.mail.addresses import envelope_address, without_addresses
from services.chassis.mail.smtp import OUTCOMES, Smtp, SmtpSettings
from services.chassis.mail.smtp_dialogue import DialogueEnded, Outcome
from tests import smtp_sink as sinks
from tests.certificates import certificate
from tests.hostile import hostile_strings
from tests.smtp_sink import CLOSE, RESET, STALL, SmtpSink
from tests.waiting import eventually

MESSAGE = b"Subject: hello\r\n\r\n.a line that begins with a dot\r\n..\r\nend\r\n"
SENDER, RECIPIENT = "notifications@rapport.example", "bob@example.org"


@asynccontextmanager
async def smtp_to(sink: SmtpSink, **settings: object) -> AsyncIterator[Smtp]:
    values = {"smtp_port": sink.port, "smtp_timeout_seconds": 5.0, "smtp_dot_timeout_seconds": 5.0} | settings
    smtp = Smtp(SmtpSettings.model_validate(values))
    try:
        yield smtp
    finally:
        await smtp.close()


async def nothing() -> None:
    pass


async def send(
    smtp: Smtp,
    recipient: str = RECIPIENT,
    content: bytes = MESSAGE,
    *,
    sender: str = SENDER,
    before_dot: Callable[[], Awaitable[object]] = nothing,
    seconds: float | None = None,
) -> Outcome:
    """Go through a whole dialogue; return how it ended."""
    try:
        async with smtp.dialogue(sender, recipient, content, seconds=seconds) as dialogue:
            await dialogue.data()
            await before_dot()
            return await dialogue.dot()
    except DialogueEnded as end:
        return end.outcome


async def deliver(sink: SmtpSink, **settings: object) -> Outcome:
    async with smtp_to(sink, **settings) as smtp:
        return await send(smtp)


async def test_an_accepted_message_arrives_byte_for_byte(smtp_sink: SmtpSink) -> None:
    outcome = await deliver(smtp_sink)
    assert (outcome.kind, outcome.phase, outcome.code) == ("accepted", "dot", 250)
    [mail] = smtp_sink.messages
    assert mail.content == MESSAGE
    assert (mail.sender, mail.recipients) == (SENDER, [RECIPIENT])


@pytest.mark.parametrize(
    ("phase", "answer", "kind", "code"),
    [
        ("connect", "421 4.3.2 later", "server_unusable", 421),
        ("connect", "554 5.7.1 go away", "server_unusable", 554),
        ("ehlo", "550 5.7.1 no", "server_unusable", 550),
        ("mail", "451 4.3.0 later", "server_unusable", 451),
        ("mail", "550 5.1.8 bad sender", "server_unusable", 550),
        ("mail", "552 5.2.2 full", "server_unusable", 552),
        ("rcpt", "450 4.2.1 later", "refused_for_now", 450),
        ("rcpt", "421 4.3.2 shutting down", "refused_for_now", 421),
        ("rcpt", "452 4.5.3 too many", "refused_for_now", 452),
        ("rcpt", "550 5.1.1 unknown", "bad_address", 550),
        ("rcpt", "550 5.1.10 null mx", "bad_address", 550),
        ("rcpt", "553 5.1.3 syntax", "bad_address", 553),
        ("rcpt", "550 5.1.2 domain", "bad_address", 550),
        ("rcpt", "551 5.1.6 moved", "bad_address", 551),
        ("rcpt", "550 no enhanced code", "refused", 550),
        ("rcpt", "554 5.7.1 relay access denied", "refused", 554),
        ("rcpt", "550 5.1.11 not of the list", "refused", 550),
        ("rcpt", "552 5.2.2 full", "refused", 552),
        ("data", "451 4.3.0 later", "refused_for_now", 451),
        ("data", "554 5.1.1 no valid recipients", "refused", 554),
        ("dot", "451 4.7.1 greylisted", "refused_for_now", 451),
        ("dot", "421 4.3.2 later", "refused_for_now", 421),
        ("dot", "550 5.1.1 it says so too late", "refused", 550),
        ("dot", "552 5.3.4 too big", "refused", 552),
        ("dot", "150 what", "unknown", 150),
        ("dot", "nonsense", "unknown", None),
        ("rcpt", "nonsense", "withheld", None),
    ],
)
@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "one-by-one"])
async def test_the_meaning_of_a_refusal_depends_on_its_step(
    smtp_sink: SmtpSink, phase: str, answer: str, kind: str, code: int | None, pipelining: bool
) -> None:
    if not pipelining:
        smtp_sink.offers.remove("PIPELINING")
    smtp_sink.answers[phase] = answer
    outcome = await deliver(smtp_sink)
    expected = {"connect": "connect", "ehlo": "mail"}.get(phase, phase)
    assert (outcome.kind, outcome.phase, outcome.code) == (kind, expected, code)
    assert smtp_sink.messages == []


@pytest.mark.parametrize("pipelining", [True, False])
async def test_rcpt_goes_with_mail_where_the_server_takes_both_at_once(smtp_sink: SmtpSink, pipelining: bool) -> None:
    """A refused MAIL is the server's, whatever it says to the RCPT behind it; nothing is sent after that."""
    if not pipelining:
        smtp_sink.offers.remove("PIPELINING")
    smtp_sink.answers |= {"mail": "451 4.3.0 later", "rcpt": "550 5.1.1 unknown"}
    async with smtp_to(smtp_sink) as smtp:
        for _ in range(2):
            outcome = await send(smtp)
            assert (outcome.kind, outcome.phase, outcome.code) == ("server_unusable", "mail", 451)
        await eventually(lambda: smtp_sink.dialogues == 0)
    verbs = [line.partition(" ")[0] for line in smtp_sink.seen]
    assert verbs == (["EHLO", "MAIL", "RCPT"] if pipelining else ["EHLO", "MAIL"]) * 2


@pytest.mark.parametrize(
    ("phase", "answer"),
    [
        ("connect", "421 4.7.0 too many connections"),
        ("mail", "451 4.7.1 too many connections"),
        ("auth", "432 4.3.2 concurrent connections limit exceeded"),
    ],
)
async def test_a_server_that_refuses_one_dialogue_beside_others_is_full(
    smtp_sink: SmtpSink, phase: str, answer: str
) -> None:
    """Alone it is unusable, and so it is for good reasons, those with a 5xx, beside others too."""
    smtp_sink.offers.append("AUTH PLAIN")
    async with smtp_to(smtp_sink, smtp_username="rapport", smtp_password="secret") as smtp:
        async with smtp.dialogue(SENDER, RECIPIENT, MESSAGE) as dialogue:
            assert smtp.open_dialogues == 1
            smtp_sink.answers[phase] = answer
            full = await send(smtp)
            assert (full.kind, full.phase, full.code, full.others) == ("server_full", phase, int(answer[:3]), 1)
            smtp_sink.answers[phase] = "554 5.7.1 go away"
            assert (await send(smtp)).kind == "server_unusable"
            await dialogue.data()
            assert (await dialogue.dot()).kind == "accepted"
        await smtp_sink.hang_up()
        smtp_sink.answers[phase] = answer
        assert smtp.open_dialogues == 0
        assert (await send(smtp)).kind == "server_unusable"


@pytest.mark.parametrize("how", [RESET, CLOSE, STALL])
@pytest.mark.parametrize(
    ("phase", "kind"),
    [
        ("connect", "server_unusable"),
        ("ehlo", "server_unusable"),
        ("mail", "server_unusable"),
        ("rcpt", "withheld"),
        ("data", "withheld"),
        ("dot", "unknown"),
    ],
)
async def test_a_lost_connection_is_unknown_only_after_the_dot(
    smtp_sink: SmtpSink, how: str, phase: str, kind: str
) -> None:
    smtp_sink.answers[phase] = how
    outcome = await deliver(smtp_sink, smtp_timeout_seconds=0.3, smtp_dot_timeout_seconds=0.3)
    assert outcome.kind == kind
    assert smtp_sink.messages == []


async def test_a_server_that_does_not_listen_is_unusable(free_port: object, smtp_sink: SmtpSink) -> None:
    assert callable(free_port)
    outcome = await deliver(smtp_sink, smtp_port=free_port())
    assert (outcome.kind, outcome.phase, outcome.code) == ("server_unusable", "connect", None)


async def test_a_connection_lost_just_before_the_dot_is_withheld(smtp_sink: SmtpSink) -> None:
    """The connection is lost before the dot: certainly nothing was delivered."""

    async def hang_up() -> None:
        await smtp_sink.hang_up()
        await asyncio.sleep(0.05)  # the loop must see the end of the connection

    async with smtp_to(smtp_sink) as smtp:
        outcome = await send(smtp, before_dot=hang_up)
    assert (outcome.kind, outcome.phase) == ("withheld", "message")
    assert smtp_sink.unanswered == []


def counted(kind: str, phase: str) -> float:
    return float(OUTCOMES.labels(kind, phase)._value.get())


@pytest.mark.parametrize("with_data", [False, True])
async def test_leaving_before_the_dot_sends_nothing_and_closes_the_connection(
    smtp_sink: SmtpSink, with_data: bool
) -> None:
    before = counted("withheld", "check")
    async with smtp_to(smtp_sink) as smtp:
        async with smtp.dialogue(SENDER, RECIPIENT, MESSAGE) as dialogue:
            if with_data:
                await dialogue.data()
        assert ("DATA" in smtp_sink.seen) == with_data
        assert dialogue.outcome == Outcome("withheld", "check")
        assert counted("withheld", "check") == before + 1
        await eventually(lambda: smtp_sink.dialogues == 0)
        assert (await send(smtp)).kind == "accepted"
    assert len(smtp_sink.messages) == 1
    assert smtp_sink.unanswered == []


async def test_an_error_before_the_dot_is_the_callers_and_nothing_is_sent(smtp_sink: SmtpSink) -> None:
    async def fail() -> None:
        raise LookupError("lease")

    async with smtp_to(smtp_sink) as smtp:
        with pytest.raises(LookupError):
            await send(smtp, before_dot=fail)
        assert (await send(smtp)).kind == "accepted"
    assert len(smtp_sink.messages) == 1


async def test_the_dot_follows_data_and_only_once(smtp_sink: SmtpSink) -> None:
    async with smtp_to(smtp_sink) as smtp:
        with pytest.raises(RuntimeError, match="follows DATA"):
            async with smtp.dialogue(SENDER, RECIPIENT, MESSAGE) as dialogue:
                await dialogue.dot()
        with pytest.raises(RuntimeError, match="once"):
            async with smtp.dialogue(SENDER, RECIPIENT, MESSAGE) as dialogue:
                await dialogue.data()
                await dialogue.dot()
                await dialogue.dot()
    assert len(smtp_sink.messages) == 1


@pytest.mark.parametrize(
    ("phase", "kind", "ended_in"),
    [
        ("connect", "withheld", "message"),
        ("rcpt", "withheld", "message"),
        ("data", "withheld", "message"),
        ("dot", "unknown", "dot"),
    ],
)
async def test_the_meaning_of_a_bound_that_ends_the_dialogue_depends_on_the_step(
    smtp_sink: SmtpSink, phase: str, kind: str, ended_in: str
) -> None:
    smtp_sink.answers[phase] = STALL
    before = counted(kind, ended_in)
    async with smtp_to(smtp_sink) as smtp:
        outcome = await send(smtp, seconds=0.3)
        assert (outcome.kind, outcome.phase) == (kind, ended_in)
        assert counted(kind, ended_in) == before + 1
        smtp_sink.answers.clear()
        assert (await send(smtp, seconds=5)).kind == "accepted"


async def test_the_bound_of_a_whole_dialogue_includes_what_the_caller_does_before_the_dot(smtp_sink: SmtpSink) -> None:
    async with smtp_to(smtp_sink) as smtp:
        outcome = await send(smtp, before_dot=asyncio.Event().wait, seconds=0.2)
        assert (outcome.kind, outcome.phase) == ("withheld", "message")
    await smtp_sink.hang_up()
    assert smtp_sink.messages == [] == smtp_sink.unanswered


async def test_a_timeout_of_the_caller_is_the_callers(smtp_sink: SmtpSink) -> None:
    async def time_out() -> None:
        raise TimeoutError("the caller's own")

    async with smtp_to(smtp_sink) as smtp:
        with pytest.raises(TimeoutError, match="the caller's own"):
            await send(smtp, before_dot=time_out, seconds=5)


async def test_a_cancellation_after_the_dot_is_unknown_and_leaves_nothing_behind(smtp_sink: SmtpSink) -> None:
    smtp_sink.answers["dot"] = STALL
    async with smtp_to(smtp_sink) as smtp:
        before = counted("unknown", "dot")
        task = asyncio.create_task(send(smtp))
        await eventually(lambda: smtp_sink.unanswered)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert counted("unknown", "dot") == before + 1
        smtp_sink.answers.clear()
        assert (await send(smtp)).kind == "accepted"


async def test_a_large_message_arrives_whole(smtp_sink: SmtpSink) -> None:
    large = b"Subject: x\r\n\r\n" + b"0123456789abcdef" * 60 + b"\r\n"
    large += (b"x" * 900 + b"\r\n") * 5000
    async with smtp_to(smtp_sink) as smtp:
        outcome = await send(smtp, content=large)
    assert outcome.kind == "accepted"
    assert smtp_sink.messages[0].content == large


async def test_a_server_that_stops_reading_is_withheld(smtp_sink: SmtpSink) -> None:
    smtp_sink.answers["body"] = STALL
    large = b"Subject: x\r\n\r\n" + (b"x" * 900 + b"\r\n") * 20_000
    async with smtp_to(smtp_sink, smtp_timeout_seconds=0.5) as smtp:
        outcome = await send(smtp, content=large)
    assert (outcome.kind, outcome.phase) == ("withheld", "message")


class FullTransport:
    """A transport whose peer takes nothing any more."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def __getattr__(self, name: str) -> object:
        return getattr(self._transport, name)

    def get_write_buffer_size(self) -> int:
        return 3


async def test_a_dot_that_never_leaves_is_unknown(smtp_sink: SmtpSink, monkeypatch: pytest.MonkeyPatch) -> None:
    smtp_sink.answers["dot"] = STALL
    async with asyncio.timeout(5), smtp_to(smtp_sink, smtp_dot_timeout_seconds=0.2) as smtp:
        with pytest.raises(DialogueEnded) as end:
            async with smtp.dialogue(SENDER, RECIPIENT, MESSAGE) as dialogue:
                await dialogue.data()
                monkeypatch.setattr(dialogue.connection, "transport", FullTransport(dialogue.connection.transport))
                await dialogue.dot()
    assert (end.value.outcome.kind, end.value.outcome.phase) == ("unknown", "dot")


async def test_connections_are_used_again_and_replaced_when_they_ended(smtp_sink: SmtpSink) -> None:
    async with smtp_to(smtp_sink) as smtp:
        for _ in range(3):
            assert (await send(smtp)).kind == "accepted"
        assert sum(line.startswith("EHLO") for line in smtp_sink.seen) == 1
        await smtp_sink.hang_up()
        assert (await send(smtp)).kind == "accepted"
        smtp_sink.once("mail", "421 4.4.2 idle too long")
        assert (await send(smtp)).kind == "accepted"
    assert len(smtp_sink.messages) == 5
    assert sum(line.startswith("EHLO") for line in smtp_sink.seen) == 3
    assert "QUIT" in smtp_sink.seen


async def test_a_connection_that_is_not_used_again_in_time_is_closed(
    smtp_sink: SmtpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp, "IDLE_SECONDS", 0.05)
    async with smtp_to(smtp_sink) as sending:
        for _ in range(2):
            assert {(await send(sending)).kind, (await send(sending)).kind} == {"accepted"}
            await eventually(lambda: smtp_sink.dialogues == 0)
        assert smtp_sink.seen.count("QUIT") == sum(line.startswith("EHLO") for line in smtp_sink.seen) >= 2


async def test_a_connection_is_not_used_again_after_a_refusal(smtp_sink: SmtpSink) -> None:
    smtp_sink.once("rcpt", "550 5.1.1 unknown")
    async with smtp_to(smtp_sink) as smtp:
        assert (await send(smtp)).kind == "bad_address"
        assert (await send(smtp)).kind == "accepted"
    assert smtp_sink.messages[0].recipients == [RECIPIENT]


async def test_a_password_is_used_and_a_wrong_one_makes_the_server_unusable(smtp_sink: SmtpSink) -> None:
    smtp_sink.offers.append("AUTH PLAIN")
    assert (await deliver(smtp_sink, smtp_username="rapport", smtp_password="secret")).kind == "accepted"
    smtp_sink.answers["auth"] = "535 5.7.8 wrong"
    outcome = await deliver(smtp_sink, smtp_username="rapport", smtp_password="wrong")
    assert (outcome.kind, outcome.phase, outcome.code) == ("server_unusable", "auth", 535)
    assert len(smtp_sink.messages) == 1


async def test_a_server_without_auth_is_unusable_with_a_password(smtp_sink: SmtpSink) -> None:
    outcome = await deliver(smtp_sink, smtp_username="rapport", smtp_password="secret")
    assert (outcome.kind, outcome.phase) == ("server_unusable", "auth")


async def test_starttls_is_required_and_verified(tmp_path: Path, smtp_sink: SmtpSink) -> None:
    context, trusted = certificate(tmp_path, "localhost")
    async with sinks.listening(tls=context) as sink:
        wanted = {"smtp_host": "localhost", "smtp_security": "starttls"}
        assert (await deliver(sink, **wanted, smtp_ca_file=str(trusted))).kind == "accepted"
        assert "STARTTLS" in sink.seen
        stranger = await deliver(sink, **wanted)
        assert (stranger.kind, stranger.phase) == ("server_unusable", "starttls")
        other_name = await deliver(sink, **wanted | {"smtp_host": "127.0.0.1"}, smtp_ca_file=str(trusted))
        assert (other_name.kind, other_name.phase) == ("server_unusable", "starttls")
        assert len(sink.messages) == 1
    plain = await deliver(smtp_sink, smtp_host="localhost", smtp_security="starttls")
    assert (plain.kind, plain.phase) == ("server_unusable", "starttls")
    assert smtp_sink.messages == [], "a server that does not offer STARTTLS gets nothing in the clear"


@pytest.mark.parametrize(
    "address",
    [
        "bob@example.org>\r\nRCPT TO:<eve@example.org",
        "bob@example.org\0",
        "bob@example.org\n",
        "bob\r@example.org",
        "bob@example.org SIZE=1",
        "<bob@example.org>",
        "",
        "bob",
        "a@b@c",
        '"a b"@example.org',
        "bob@exa\u2028mple.org",
        "x" * 65 + "@example.org",
        "bob@" + "x" * 254,
    ],
)
async def test_an_invalid_address_never_reaches_the_server(smtp_sink: SmtpSink, address: str) -> None:
    async with smtp_to(smtp_sink) as smtp:
        outcome = await send(smtp, address)
    assert (outcome.kind, outcome.phase) == ("refused", "address")
    assert smtp_sink.seen == []


async def test_a_domain_is_sent_in_ascii_and_a_local_part_only_with_smtputf8(smtp_sink: SmtpSink) -> None:
    async with smtp_to(smtp_sink) as smtp:
        await send(smtp, "bob@exämple.org")
        assert smtp_sink.messages[0].recipients == ["bob@xn--exmple-cua.org"]
        await send(smtp, "böb@example.org")
        assert smtp_sink.messages[1].recipients == ["böb@example.org"]
        assert any(line.endswith("SMTPUTF8 BODY=8BITMIME") for line in smtp_sink.seen)
    smtp_sink.offers.remove("SMTPUTF8")
    async with smtp_to(smtp_sink) as smtp:
        outcome = await send(smtp, "böb@example.org")
    assert (outcome.kind, outcome.phase) == ("refused", "address")
    assert len(smtp_sink.messages) == 2


@pytest.mark.parametrize("message", [b"Subject: x\n\nhi\n", b"Subject: x\r\n\r\n.\n.\r\n", b"a\rb\r\n"])
async def test_bare_line_breaks_are_refused(smtp_sink: SmtpSink, message: bytes) -> None:
    """Some servers take LF.LF for the end of a message: SMTP smuggling."""
    async with smtp_to(smtp_sink) as smtp:
        with pytest.raises(ValueError, match="CRLF"):
            await send(smtp, content=message)


async def test_answers_are_kept_without_addresses(smtp_sink: SmtpSink) -> None:
    smtp_sink.answers["rcpt"] = "550 5.1.1 <Bob@Example.org>: bob unknown; see postmaster@relay.example"
    outcome = await deliver(smtp_sink)
    assert outcome.answer == "5.1.1 <address> <address> unknown; see <address>"


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        ("user bob.smith unknown", "user <address> unknown"),
        ("SRS0=x=example.org=bob.smith@r.example gone", "<address> gone"),
        ("bob.smith=40example.org no", "<address> no"),
        ("two\r\nlines\x00\u2028here", "two lines here"),
        ("\udcff bytes", "? bytes"),
        ("x" * 5000, "x" * 400),
    ],
)
def test_everything_that_looks_like_an_address_is_removed(answer: str, kept: str) -> None:
    assert without_addresses(answer, "bob.smith@example.org") == kept


DYING = """
import asyncio, sys
from services.chassis.mail.smtp import Smtp, SmtpSettings

async def main():
    smtp = Smtp(SmtpSettings(smtp_port=int(sys.argv[2])))
    message = b"Subject: x\\r\\n\\r\\n" + b"x" * 900 + b"\\r\\n"
    async with smtp.dialogue("a@example.org", "b@example.org", message) as dialogue:
        await dialogue.data()
        await dialogue.dot()

if sys.argv[1] == "uvloop":
    import uvloop as asyncio_like
else:
    asyncio_like = asyncio
asyncio_like.run(main())
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_the_dot_has_left_at_the_failpoint(smtp_sink: SmtpSink, loop: str) -> None:
    """`mailer.dot` is the ambiguous point: a process killed there has delivered without knowing."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", DYING, loop, str(smtp_sink.port)), env=os.environ | {"FAILPOINTS": "mailer.dot"}
    )
    assert await process.wait() == -signal.SIGKILL
    assert len(await smtp_sink.wait_for(1)) == 1


class Maildrop:
    """Keeps what aiosmtpd, an independent implementation, received."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []

    async def handle_DATA(self, _: Server, __: Session, envelope: Envelope) -> str:
        self.envelopes.append(envelope)
        return "250 2.0.0 kept"


async def test_many_dialogues_at_once_deliver_to_another_implementation() -> None:
    drop = Maildrop()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Server(drop, enable_SMTPUTF8=True, loop=loop), "127.0.0.1", 0)
    bodies = [
        b"Subject: %d\r\n\r\n" % at + b".\r\n..\r\n.QUIT\r\n" * at + b"\xc3\xa9\r\n" * (at % 2) for at in range(40)
    ]
    smtp = Smtp(SmtpSettings(smtp_port=server.sockets[0].getsockname()[1]))
    try:
        outcomes = await asyncio.gather(*(send(smtp, f"p{at}@example.org", body) for at, body in enumerate(bodies)))
    finally:
        await smtp.close()
        server.close()
    assert {outcome.kind for outcome in outcomes} == {"accepted"}
    got = {envelope.rcpt_tos[0]: envelope.original_content for envelope in drop.envelopes}
    assert got == {f"p{at}@example.org": body for at, body in enumerate(bodies)}
    assert all(len(envelope.rcpt_tos) == 1 for envelope in drop.envelopes)


async def test_hostile_addresses_add_no_command_and_no_recipient(smtp_sink: SmtpSink) -> None:
    expected: list[tuple[str, str]] = []
    usual = re.compile(r"(EHLO \S+|MAIL FROM:<[^<>\s]+>( SMTPUTF8 BODY=8BITMIME)?|RCPT TO:<[^<>\s]+>|DATA|QUIT)\Z")
    async with smtp_to(smtp_sink) as smtp:
        for hostile in hostile_strings(1500, seed=6):
            for sender, recipient in (
                (SENDER, hostile),
                (SENDER, f"{hostile}@example.org"),
                (f"a@{hostile}", RECIPIENT),
            ):
                outcome = await send(smtp, recipient, sender=sender)
                if outcome.kind == "accepted":
                    expected.append((envelope_address(sender), envelope_address(recipient)))
                else:
                    assert (outcome.kind, outcome.phase) == ("refused", "address")
    assert [line for line in smtp_sink.seen if not usual.match(line)] == []
    assert [(mail.sender, mail.recipients) for mail in smtp_sink.messages] == [(by, [to]) for by, to in expected]
    assert {mail.content for mail in smtp_sink.messages} == {MESSAGE}
    assert len(expected) > 20, "some of them must be addresses, else nothing was tried"
