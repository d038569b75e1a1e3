"""The mailer against a real SMTP server: who gets a link, and what every kind of failure leads to."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
import structlog

from services.chassis.errors import unavailable
from services.chassis.mail.message import Unsafe
from services.chassis.mail.sender import Sender
from services.chassis.mail.smtp import Smtp, SmtpSettings
from services.chassis.mail.smtp_dialogue import Dialogue
from services.chassis.runtime import context
from services.contracts.people import LINK_LIFE, REQUESTER
from services.people import queries
from services.people.commands import sign_in
from services.people.domain import LIVE_LINKS_PER_ADDRESS
from services.people.mailer import Mailer
from services.people.message import SignInMessageBuilder
from services.people.store.sign_in import Claimed
from tests.integration.people_harness import Harness, opened
from tests.smtp_sink import CLOSE, RESET, STALL, SmtpSink
from tests.waiting import eventually

ANA = "ana@example.com"


@pytest.fixture
async def harness(new_database: Callable[..., Awaitable[Any]], keys: dict[str, str]) -> AsyncIterator[Harness]:
    async with opened(new_database, keys) as harness:
        yield harness


def messages(harness: Harness) -> SignInMessageBuilder:
    return SignInMessageBuilder(
        sender=Sender.parse("Rapport <mail@rapport.test>"), public_url="https://rapport.test", tokens=harness.tokens
    )


def codes(sink: SmtpSink) -> list[str]:
    return [code for mail in sink.messages for code in re.findall(r"\b[0-9]{8}\b", mail.text)]


@asynccontextmanager
async def running_mailer(
    harness: Harness, sink: SmtpSink, *, smtp: Smtp | None = None, attempt_seconds: float = 20, **options: Any
) -> AsyncIterator[Mailer]:
    """Run a mailer; stop it in order afterwards."""
    smtp = smtp or Smtp(SmtpSettings(smtp_port=sink.port))
    mailer = Mailer(
        harness.db,
        messages(harness),
        smtp,
        attempt_seconds=attempt_seconds,
        **({"drain_seconds": 5, "poll_seconds": 0.02} | options),
    )
    stop = asyncio.Event()
    running = asyncio.create_task(mailer.run(stop))
    try:
        yield mailer
    finally:
        stop.set()
        await running
        await smtp.close()


async def ask(
    harness: Harness, email: str = ANA, name: str | None = "Ana Offered", *, requester: str | None = None
) -> None:
    path, body = ("/sign-in", {"email": email}) if name is None else ("/people", {"email": email, "name": name})
    headers = None if requester is None else {REQUESTER: requester}
    assert (await harness.call("POST", path, body, headers=headers)).status_code == 202


def tokens(sink: SmtpSink) -> list[str]:
    return [token for mail in sink.messages for token in re.findall(r"https://rapport\.test/sign-in/(\S+)", mail.text)]


async def outcome(harness: Harness) -> str | None:
    value: str | None = await harness.value("select outcome from sign_in_requests order by id desc limit 1")
    return value


async def due_again(harness: Harness) -> None:
    """End the delay, or the lease, of every open request."""
    await harness.change("update sign_in_requests set next_attempt_at = now() where outcome is null")


async def test_a_mail_brings_the_link_that_signs_in(harness: Harness, smtp_sink: SmtpSink) -> None:
    await ask(harness, "Ana@Example.com")
    async with running_mailer(harness, smtp_sink):
        (mail,) = await smtp_sink.wait_for(1)
        await eventually(lambda: outcome(harness))
    assert mail.recipients == ["Ana@example.com"]
    assert "Offered" not in mail.content.decode()
    (token,) = tokens(smtp_sink)
    assert token not in str(await harness.value("select string_agg(l::text, '') from sign_in_links l"))
    answer = await harness.call("POST", "/sessions", {"token": token})
    assert (answer.status_code, answer.json()["person"]["name"]) == (201, "Ana Offered")
    assert await outcome(harness) == "sent"


async def test_the_code_in_the_mail_signs_in_and_is_in_no_log(
    harness: Harness, smtp_sink: SmtpSink, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = await harness.call("POST", "/people", {"email": ANA, "name": "Ana"})
    request = asked.json()["request"]
    async with running_mailer(harness, smtp_sink):
        (mail,) = await smtp_sink.wait_for(1)
        await eventually(lambda: outcome(harness))
    (code,) = codes(smtp_sink)
    assert code not in str(mail.message["Subject"])
    wrong = await harness.call("POST", "/sessions/by-code", {"request": request, "code": code[::-1] + "0"})
    assert wrong.status_code == 401
    answer = await harness.call("POST", "/sessions/by-code", {"request": request, "code": code})
    assert (answer.status_code, answer.json()["person"]["email"]) == (201, ANA)
    logged = "".join(capfd.readouterr())
    assert code not in logged
    assert request not in logged


async def test_a_retry_brings_the_same_code(harness: Harness, smtp_sink: SmtpSink) -> None:
    smtp_sink.once("dot", STALL)
    await ask(harness)
    async with running_mailer(harness, smtp_sink, attempt_seconds=0.5):
        await eventually(lambda: len(smtp_sink.unanswered) == 1)
        await eventually(postponed(harness, 1))
        await due_again(harness)
        await smtp_sink.wait_for(1)
    (first,) = re.findall(r"\b[0-9]{8}\b", smtp_sink.unanswered[0].text)
    assert codes(smtp_sink) == [first]


async def test_an_unknown_address_that_signs_in_gets_no_mail(harness: Harness, smtp_sink: SmtpSink) -> None:
    await ask(harness, "nobody@example.com", None)
    async with running_mailer(harness, smtp_sink):
        await eventually(lambda: outcome(harness))
    assert (smtp_sink.seen, await outcome(harness)) == ([], "unknown_address")


async def test_an_address_gets_a_limited_number_of_mails(harness: Harness, smtp_sink: SmtpSink) -> None:
    for _ in range(LIVE_LINKS_PER_ADDRESS + 2):
        await ask(harness)
    async with running_mailer(harness, smtp_sink):
        await eventually(lambda: harness.value("select bool_and(outcome is not null) from sign_in_requests"))
    assert len(smtp_sink.messages) == LIVE_LINKS_PER_ADDRESS


async def test_the_limit_can_be_turned_off(harness: Harness, smtp_sink: SmtpSink) -> None:
    for _ in range(LIVE_LINKS_PER_ADDRESS + 2):
        await ask(harness)
    async with running_mailer(harness, smtp_sink, limited=False):
        await smtp_sink.wait_for(LIVE_LINKS_PER_ADDRESS + 2)


TEMPORARY_FAILURES = [
    ("connect", "554 5.3.2 go away"),
    ("connect", CLOSE),
    ("mail", "535 5.7.8 who are you"),
    ("mail", "452 4.3.1 full"),
    ("rcpt", "450 4.2.1 grey"),
    ("data", "451 4.3.0 later"),
    ("body", RESET),
    ("dot", "451 4.3.0 later"),
]
POSTPONED = "select attempts = $1 and lease is null from sign_in_requests"


def postponed(harness: Harness, attempts: int) -> Callable[[], Awaitable[object]]:
    """Return a condition: that many attempts were made and the request waits for the next."""
    return lambda: harness.value(POSTPONED, attempts)


async def test_a_postponed_request_is_sent_later_with_another_link(harness: Harness, smtp_sink: SmtpSink) -> None:
    await ask(harness)
    await harness.change("update sign_in_requests set next_attempt_at = now() + interval '5 minutes'")
    async with running_mailer(harness, smtp_sink):
        for attempts, (phase, answer) in enumerate(TEMPORARY_FAILURES, 1):
            smtp_sink.once(phase, answer)
            await due_again(harness)
            await eventually(postponed(harness, attempts))
            assert await harness.value("select count(*) from sign_in_links") == 0, phase
        assert smtp_sink.messages == []
        await due_again(harness)
        await smtp_sink.wait_for(1)
    (token,) = tokens(smtp_sink)
    assert (await harness.call("POST", "/sessions", {"token": token})).status_code == 201


async def test_a_refused_request_is_finished(harness: Harness, smtp_sink: SmtpSink) -> None:
    smtp_sink.once("rcpt", "550 5.1.1 no such user")
    smtp_sink.once("dot", "554 5.7.1 no")
    await ask(harness)
    await ask(harness)
    async with running_mailer(harness, smtp_sink):
        await eventually(lambda: harness.value("select bool_and(outcome = 'refused') from sign_in_requests"))
    assert smtp_sink.messages == []
    assert await harness.value("select count(*) from sign_in_links") == 0


async def test_a_link_stays_valid_when_the_dot_is_not_answered(harness: Harness, smtp_sink: SmtpSink) -> None:
    smtp_sink.once("dot", STALL)
    await ask(harness)
    async with running_mailer(harness, smtp_sink, attempt_seconds=0.5):
        await eventually(lambda: len(smtp_sink.unanswered) == 1)
        await eventually(postponed(harness, 1))
        assert await harness.value("select count(*) from sign_in_links") == 1
        await due_again(harness)
        await smtp_sink.wait_for(1)
    links = [re.findall(r"sign-in/(\S+)", mail.text)[0] for mail in (*smtp_sink.unanswered, *smtp_sink.messages)]
    assert len(set(links)) == 2
    assert (await harness.call("POST", "/sessions", {"token": links[0]})).status_code == 201


async def test_a_stalling_server_before_the_dot_leaves_no_link(harness: Harness, smtp_sink: SmtpSink) -> None:
    smtp_sink.once("rcpt", STALL)
    await ask(harness)
    async with running_mailer(harness, smtp_sink, attempt_seconds=0.5):
        await eventually(postponed(harness, 1))
    assert await harness.value("select count(*) from sign_in_links") == 0


async def test_a_request_of_a_dead_mailer_is_claimed_by_another(harness: Harness, smtp_sink: SmtpSink) -> None:
    await ask(harness)
    (request,) = await harness.claim()
    lost = await sign_in.draw_link(harness.db, request)
    assert lost is not None
    async with running_mailer(harness, smtp_sink):
        await asyncio.sleep(0)
        assert smtp_sink.messages == []
        await due_again(harness)
        await smtp_sink.wait_for(1)
        await eventually(lambda: outcome(harness))
    assert not await sign_in.is_wanted(harness.db, request)
    await sign_in.finish_request(harness.db, request, "refused")
    await sign_in.postpone_request(harness.db, request, LINK_LIFE)
    assert await outcome(harness) == "sent"


async def test_a_request_older_than_its_link_would_be_is_dropped(harness: Harness, smtp_sink: SmtpSink) -> None:
    await ask(harness)
    await harness.change("update sign_in_requests set created_at = now() - $1::interval", LINK_LIFE)
    await ask(harness, "bob@example.com")
    async with running_mailer(harness, smtp_sink):
        await smtp_sink.wait_for(1)
    assert [mail.recipients for mail in smtp_sink.messages] == [["bob@example.com"]]
    assert await harness.value("select attempts from sign_in_requests where lookup = $1", ANA) == 0


@pytest.mark.parametrize("failing", ["draw_link", "finish_request"])
async def test_an_attempt_that_broke_is_repeated(
    harness: Harness, smtp_sink: SmtpSink, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    failures: list[Exception] = [unavailable("The connection to the database was lost."), RuntimeError("a bug")]
    original = getattr(sign_in, failing)

    async def sometimes(*args: Any, **options: Any) -> Any:
        if failures:
            raise failures.pop()
        return await original(*args, **options)

    monkeypatch.setattr(sign_in, failing, sometimes)
    await ask(harness)
    async with running_mailer(harness, smtp_sink):
        await eventually(lambda: len(failures) == 1)
        await due_again(harness)
        await eventually(lambda: not failures)
        await due_again(harness)
        await eventually(lambda: outcome(harness))
    links = tokens(smtp_sink)
    assert len(links) == len(set(links)) == (1 if failing == "draw_link" else 3)


async def test_a_mail_that_would_not_be_safe_is_not_sent(
    harness: Harness, smtp_sink: SmtpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsafe(*_: object) -> bytes:
        raise Unsafe("the lines are not the headers that were meant")

    monkeypatch.setattr(SignInMessageBuilder, "build", unsafe)
    await ask(harness)
    async with running_mailer(harness, smtp_sink):
        await eventually(lambda: outcome(harness))
    assert (await outcome(harness), smtp_sink.seen) == ("refused", [])
    assert await harness.value("select count(*) from sign_in_links") == 0


class GatedSmtp(Smtp):
    """Waits before the last check of every dialogue until the test lets it go on."""

    def __init__(self, settings: SmtpSettings) -> None:
        super().__init__(settings)
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()

    @asynccontextmanager
    async def dialogue(
        self, sender: str, recipient: str, content: bytes, *, seconds: float | None = None
    ) -> AsyncIterator[Dialogue]:
        async with super().dialogue(sender, recipient, content, seconds=seconds) as dialogue:
            data = dialogue.data

            async def data_and_wait() -> None:
                await data()
                self.reached.set()
                await self.go_on.wait()

            dialogue.data = data_and_wait  # type: ignore[method-assign]  # it has no hook for this
            yield dialogue


async def test_a_superseded_mail_is_withheld_before_the_dot(harness: Harness, smtp_sink: SmtpSink) -> None:
    earlier = await harness.link(ANA, "Ana")
    await ask(harness)
    smtp = GatedSmtp(SmtpSettings(smtp_port=smtp_sink.port))
    async with running_mailer(harness, smtp_sink, smtp=smtp):
        await smtp.reached.wait()
        assert (await harness.call("POST", "/sessions", {"token": earlier})).status_code == 201
        smtp.go_on.set()
        await eventually(lambda: harness.value("select count(*) = 1 from sign_in_links"))
    assert (smtp_sink.messages, smtp_sink.unanswered) == ([], [])
    assert await outcome(harness) == "superseded"


async def test_a_long_dialogue_keeps_its_lease(harness: Harness, smtp_sink: SmtpSink) -> None:
    await ask(harness)
    smtp = GatedSmtp(SmtpSettings(smtp_port=smtp_sink.port))
    lease = timedelta(seconds=0.6)
    async with (
        running_mailer(harness, smtp_sink, smtp=smtp, lease=lease, renew_seconds=0.1),
        running_mailer(harness, smtp_sink),
    ):
        await smtp.reached.wait()
        first = await harness.value("select next_attempt_at from sign_in_requests")
        await eventually(lambda: harness.value("select now() > $1::timestamptz + $2::interval", first, lease))
        assert await harness.value("select attempts from sign_in_requests") == 1
        smtp.go_on.set()
        await eventually(lambda: outcome(harness))
    assert len(smtp_sink.messages) == 1


async def test_renewal_goes_on_after_an_unexpected_error(
    harness: Harness, smtp_sink: SmtpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    renew, errors = sign_in.renew_leases, [KeyError("no database error")]

    async def failing(*args: Any) -> None:
        if errors:
            raise errors.pop()
        await renew(*args)

    monkeypatch.setattr(sign_in, "renew_leases", failing)
    await ask(harness)
    smtp = GatedSmtp(SmtpSettings(smtp_port=smtp_sink.port))
    async with running_mailer(harness, smtp_sink, smtp=smtp, renew_seconds=0.02):
        await smtp.reached.wait()
        await eventually(lambda: not errors)
        await harness.change("update sign_in_requests set next_attempt_at = now() + interval '5 s'")
        await eventually(
            lambda: harness.value("select next_attempt_at > now() + interval '29 s' from sign_in_requests"),
        )
        smtp.go_on.set()
        await eventually(lambda: outcome(harness))


async def test_a_lease_that_ran_out_is_not_renewed(harness: Harness, smtp_sink: SmtpSink) -> None:
    await ask(harness)
    (request,) = await harness.claim()
    await due_again(harness)
    await sign_in.renew_leases(harness.db, [request.lease], LINK_LIFE)
    assert not await sign_in.is_wanted(harness.db, request)
    async with running_mailer(harness, smtp_sink):
        await smtp_sink.wait_for(1)


async def test_the_mailers_logs_name_the_id_of_the_request(harness: Harness, smtp_sink: SmtpSink) -> None:
    smtp_sink.once("rcpt", "550 5.1.1 no such user ana@example.com")
    body = {"email": ANA, "name": "Ana"}
    await harness.call("POST", "/people", body, headers={"X-Request-ID": "asked-by-ana"})
    with structlog.testing.capture_logs([context.add_request_id]) as logs:
        async with running_mailer(harness, smtp_sink):
            await eventually(lambda: outcome(harness))
    (entry,) = [entry for entry in logs if entry["event"] == "a sign-in mail was not sent"]
    assert (entry["request_id"], entry["outcome"]) == ("asked-by-ana", "bad_address")
    assert "example.com" not in str(logs)


async def test_the_backlog_is_measured(harness: Harness) -> None:
    assert await queries.backlog(harness.db) == (0, 0)
    await ask(harness)
    await harness.change("update sign_in_requests set created_at = now() - interval '1 minute'")
    waiting, oldest = await queries.backlog(harness.db)
    assert waiting == 1
    assert 60 <= oldest < 120


async def test_claims_at_once_take_different_requests(harness: Harness) -> None:
    for number in range(40):
        await ask(harness, f"ana{number}@example.com")
    claims = await asyncio.gather(*(harness.claim(10) for _ in range(8)))
    ids = [request.id for claim in claims for request in claim]
    assert len(ids) == len(set(ids)) == 40


async def test_mails_leave_as_fast_as_the_server_takes_them(harness: Harness, smtp_sink: SmtpSink) -> None:
    """However rarely the mailer looks for new requests."""
    for number in range(40):
        await ask(harness, f"ana{number}@example.com")
    async with running_mailer(harness, smtp_sink, poll_seconds=60):
        await smtp_sink.wait_for(40)


async def claimed(harness: Harness, count: int, most: int = 1) -> list[str]:
    """Claim requests, `most` at once, as mailers do whose mails are sent at once; return the local parts."""
    found: list[str] = []
    while len(found) < count:
        requests = await harness.claim(most)
        for request in requests:
            await sign_in.finish_request(harness.db, request, "sent")
        found += [request.address.lookup.partition("@")[0] for request in requests]
    return found


@pytest.mark.parametrize("most", [1, 3])
async def test_requesters_are_served_by_turns(harness: Harness, most: int) -> None:
    for number in range(12):
        await ask(harness, f"eve{number}@example.com", requester="network of Eve")
    for number in range(3):
        await ask(harness, f"mallory{number}@example.com", requester="network of Mallory")
    first = await claimed(harness, 6, most)
    assert sum(name.startswith("mallory") for name in first) == 3
    await ask(harness, requester="network of Ana")
    await ask(harness, "ben@example.com", requester="network of Ben")
    assert {"ana", "ben"} <= set(await claimed(harness, 3, most))
    assert all(name.startswith("eve") for name in await claimed(harness, 7, most))


async def test_many_networks_within_their_quota_do_not_block_anothers_mail(harness: Harness) -> None:
    for turn in range(3):
        for network in range(40):
            await ask(harness, f"eve{turn}x{network}@example.com", requester=f"network {network}")
    await claimed(harness, 50, 4)
    await ask(harness, requester="network of Ana")
    assert "ana" in await claimed(harness, 4, 4)
    await ask(harness, "ana2@example.com", requester="network of Ana")
    assert "ana2" in await claimed(harness, 44, 4)


async def test_requests_at_once_do_not_share_a_turn(harness: Harness) -> None:
    await asyncio.gather(*(ask(harness, f"eve{n}@example.com", requester="network of Eve") for n in range(20)))
    await claimed(harness, 5)
    await ask(harness, requester="network of Ana")
    assert await claimed(harness, 1) == ["ana"]


async def test_requests_that_fail_do_not_go_first_for_ever(harness: Harness) -> None:
    for number in range(12):
        await ask(harness, f"eve{number}@example.com", requester=f"network {number % 4}")
    for request in await harness.claim(12):
        await sign_in.postpone_request(harness.db, request, timedelta(0))
    await ask(harness, requester="network of Ana")
    assert await claimed(harness, 1) == ["ana"]


async def test_who_asked_often_before_is_not_behind(harness: Harness) -> None:
    for number in range(20):
        await ask(harness, f"ana{number}@example.com", requester="network of Ana")
    await claimed(harness, 20, 10)
    for number in range(5):
        await ask(harness, f"eve{number}@example.com", requester="network of Eve")
    await ask(harness, requester="network of Ana")
    assert "ana" in await claimed(harness, 4)


async def test_requests_without_a_requester_share_a_turn(harness: Harness) -> None:
    for number in range(5):
        await ask(harness, f"eve{number}@example.com")
    await claimed(harness, 2)
    await ask(harness, requester="network of Ana")
    assert await claimed(harness, 1) == ["ana"]


async def test_two_mailers_share_the_work(harness: Harness, smtp_sink: SmtpSink) -> None:
    for number in range(20):
        await ask(harness, f"ana{number}@example.com")
    async with running_mailer(harness, smtp_sink), running_mailer(harness, smtp_sink):
        await smtp_sink.wait_for(20)
        await eventually(lambda: harness.value("select bool_and(outcome = 'sent') from sign_in_requests"))
    assert len(smtp_sink.messages) == 20
    assert len({mail.recipients[0] for mail in smtp_sink.messages}) == 20


async def test_a_stop_lets_the_open_dialogue_end(harness: Harness, smtp_sink: SmtpSink) -> None:
    await ask(harness)
    smtp = GatedSmtp(SmtpSettings(smtp_port=smtp_sink.port))
    async with running_mailer(harness, smtp_sink, smtp=smtp):
        await smtp.reached.wait()
        asyncio.get_running_loop().call_later(0.05, smtp.go_on.set)
    assert len(smtp_sink.messages) == 1
    assert await outcome(harness) == "sent"


async def test_a_dialogue_that_outlasts_the_drain_is_cancelled_and_keeps_its_request(
    harness: Harness, smtp_sink: SmtpSink
) -> None:
    await ask(harness)
    smtp = GatedSmtp(SmtpSettings(smtp_port=smtp_sink.port))
    async with running_mailer(harness, smtp_sink, smtp=smtp, drain_seconds=0.05):
        await smtp.reached.wait()
    assert (smtp_sink.messages, smtp_sink.unanswered) == ([], [])
    assert await outcome(harness) is None
    await due_again(harness)
    async with running_mailer(harness, smtp_sink):
        await smtp_sink.wait_for(1)


async def test_it_survives_a_database_that_is_away(
    harness: Harness, smtp_sink: SmtpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    outages = [unavailable("The database does not answer."), asyncpg.LockNotAvailableError("canceled")]
    claim = sign_in.claim_requests

    async def claim_after_outages(*args: Any) -> list[Claimed]:
        if outages:
            raise outages.pop()
        return await claim(*args)

    await ask(harness)
    monkeypatch.setattr(sign_in, "claim_requests", claim_after_outages)
    async with running_mailer(harness, smtp_sink):
        await smtp_sink.wait_for(1)
    assert outages == []


async def test_odd_but_legal_addresses_get_exactly_their_mail(harness: Harness, smtp_sink: SmtpSink) -> None:
    odd = [f"{local}@example.com" for local in ("o'brien", "a+b", "x" * 64, "a=b", "{a}", "a|b", "`a`", "%a!b")]
    for address in odd:
        await ask(harness, address)
    async with running_mailer(harness, smtp_sink):
        await smtp_sink.wait_for(len(odd))
    assert sorted(mail.recipients for mail in smtp_sink.messages) == sorted([address] for address in odd)
    for mail in smtp_sink.messages:
        assert [box.addr_spec for box in mail.message["To"].addresses] == mail.recipients
