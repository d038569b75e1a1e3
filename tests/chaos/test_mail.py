"""Mail: the mailer killed at named points, and a mail server that refuses, stalls, breaks off or is gone."""

import asyncio
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.certificates import certificate
from tests.chaos.conftest import System
from tests.chaos.counts import HOUR, PATIENT
from tests.chaos.mails import ATTEMPTS, SUPPRESSED, Mails
from tests.smtp_sink import CLOSE, RESET, STALL
from tests.waiting import eventually

CONNECTIONS = 4
BATCH = 8 * CONNECTIONS
KILLS = 50
POINTS = {  # a point is passed once for so many mails
    "mailer.claimed": BATCH,
    "mailer.asked": BATCH,
    "mailer.frozen": 1,
    "mailer.rcpt": 1,
    "mailer.data": 1,
    "mailer.dot": 1,
    "mailer.sent": 1,
    "mailer.marked": 1,
}
DRAIN_SECONDS = 600


async def kill(mails: Mails, point: str, times: int) -> Counter[str]:
    """Kill the mailer at the point again and again, each time a little later.

    Returns:
        What each kill left open: mails that had arrived although their rows were not ended. That is the ambiguous time
        between the dot and the commit, in which each of the other connections may be, wherever the point is.
    """
    stack, sink = mails.system.stack, mails.system.sink
    open_mails: Counter[str] = Counter()
    for number in range(times):
        passes = 1 + number % (3 if POINTS[point] > 1 else 2 * CONNECTIONS + 1)
        await mails.keep_claimable(POINTS[point] * passes + 2 * CONNECTIONS)
        dialogues = sink.dialogues
        armed = await stack.start(
            "notify",
            "mailer",
            failpoints=f"{point}:{passes}",
            wait=False,
            NOTIFY_MAIL_CONNECTIONS=str(CONNECTIONS),
        )
        await eventually(lambda armed=armed: not armed.alive, timeout=120)  # type: ignore[misc]  # binds the value
        assert armed.process.returncode == -signal.SIGKILL, armed.tail()
        await eventually(lambda dialogues=dialogues: sink.dialogues <= dialogues)  # type: ignore[misc]  # it has read all
        left = await mails.left_open()
        assert (point == "mailer.sent") <= left.total() <= CONNECTIONS
        open_mails += left
    return open_mails


async def check_kills(system: System, points: list[str], times: int) -> None:
    """Kill at these points, then let one mailer live, and count duplicates.

    Exactly what the kills left open arrives twice, the same to the byte: for each kill at most one mail of each
    connection, whose dot was sent and whose end was not committed.
    """
    begun = time.monotonic()
    mails = await Mails.begin(system)
    await asyncio.to_thread(system.stack.part("notify", "mailer").stop)
    open_mails: Counter[str] = Counter()
    for point in points:
        left = await kill(mails, point, times)
        print(f"{point}: {times} kills left {left.total()} mails open")
        open_mails += left
    killing = time.monotonic() - begun
    await system.ledger.end_leases()
    await system.stack.start("notify", "mailer")
    await system.verdict()
    again = mails.again()
    print(
        f"{times * len(points)} kills in {killing:.0f} s, {mails.caused} mails, {again.total()} duplicates, "
        f"all identical; over after {time.monotonic() - begun:.0f} s"
    )
    assert again == open_mails
    assert again.total() <= times * len(points) * CONNECTIONS
    assert len(mails.arrived) == mails.caused


@pytest.mark.timeout(PATIENT)
async def test_mails_of_earlier_comments_are_not_counted(system: System) -> None:
    await system.writers.write(20)
    mails = await Mails.begin(system)
    await mails.cause(2)
    await system.verdict()
    assert mails.so_far() == 2


@pytest.mark.timeout(PATIENT)
async def test_the_mailer_killed_once_at_every_point(system: System) -> None:
    await check_kills(system, list(POINTS), 1)


@pytest.mark.chaos
@pytest.mark.timeout(HOUR)
@pytest.mark.parametrize("point", POINTS)
async def test_the_mailer_killed_often_at_a_point(system: System, point: str) -> None:
    await check_kills(system, [point], KILLS)


@pytest.mark.chaos
@pytest.mark.timeout(HOUR)
async def test_a_kill_behind_a_slow_server_repeats_one_mail_for_each_connection(system: System) -> None:
    """The server takes so long for each dot that all connections wait for theirs; still nothing is lost or altered."""
    system.sink.delays["dot"] = 1.0
    try:
        await check_kills(system, ["mailer.sent"], 10)
    finally:
        del system.sink.delays["dot"]


@pytest.mark.timeout(PATIENT)
@pytest.mark.parametrize(
    ("phase", "answer"),
    [
        ("connect", "421 4.3.2 not now"),
        ("connect", CLOSE),
        ("connect", STALL),
        ("auth", "535 5.7.8 no"),
        ("auth", "454 4.7.0 temporary failure"),
        ("mail", "550 5.7.1 refused"),
        ("mail", "451 4.3.0 later"),
        ("mail", RESET),
        ("rcpt", RESET),
        ("body", RESET),
        ("dot", RESET),
    ],
    ids=lambda value: str(value).replace(" ", "-")[:12],
)
async def test_a_failing_server_loses_and_suppresses_nothing(system: System, phase: str, answer: str) -> None:
    """While the server fails nothing arrives; afterwards every mail arrives once, and no address was suppressed."""
    mails = await Mails.begin(system)
    failed, attempts = (await mails.ended())["failed"], await mails.value(ATTEMPTS)
    unanswered = len(system.sink.unanswered)
    system.sink.answers[phase] = answer
    await system.sink.hang_up()  # so that the next mail begins a dialogue of its own
    try:
        reached = system.sink.reached(phase)
        await mails.cause(6)
        await eventually(lambda: system.sink.reached(phase) > reached, timeout=120)
        assert not mails.so_far()
    finally:
        del system.sink.answers[phase]
    await system.ledger.hurry()
    await system.verdict()
    assert not mails.again()
    assert len(mails.arrived) == mails.caused
    assert (await mails.ended())["failed"] == failed
    assert await mails.value(SUPPRESSED) == 0
    if phase in ("connect", "auth", "mail"):
        assert await mails.value(ATTEMPTS) == attempts, "the server's outage counts against no mail"
    contents = {content for copies in mails.arrived.values() for content in copies}
    for mail in system.sink.unanswered[unanswered:]:
        assert mail.content in contents, "repeated, but altered"


TEMPORARY_CODES = {421: "4.3.2 closing", 450: "4.2.0 greylisted", 451: "4.3.0 later", 452: "4.3.1 full"}
RESCHEDULED_ROWS = """
select left(smtp_answer, 3)::int as code, extract(epoch from due_at - now())::float8 as seconds
from notifications where state = 'waiting' and attempts = 1 and lease_until is null
"""


@pytest.mark.timeout(PATIENT)
@pytest.mark.parametrize("phase", ["rcpt", "data", "dot"])
async def test_a_mail_refused_for_now_is_tried_again(system: System, phase: str) -> None:
    """Each temporary code delays its own mail once; the others are sent at once, and it is sent when it is due."""
    mails = await Mails.begin(system)
    reached, failed = system.sink.reached(phase), (await mails.ended())["failed"]
    system.sink.once(phase, *(f"{code} {words}" for code, words in TEMPORARY_CODES.items()))
    await mails.cause(6)

    async def others_are_sent() -> bool:
        return mails.so_far() >= 2 and len(await mails.rows(RESCHEDULED_ROWS)) == 4

    await eventually(others_are_sent, timeout=60)
    waiting = await mails.rows(RESCHEDULED_ROWS)
    assert {row["code"] for row in waiting} == set(TEMPORARY_CODES)
    assert all(10 < row["seconds"] <= 30 for row in waiting)
    assert system.sink.reached(phase) == reached + 6
    await system.ledger.hurry()
    await system.verdict()
    assert system.sink.reached(phase) == reached + 10
    assert not mails.again()
    assert len(mails.arrived) == mails.caused
    assert (await mails.ended())["failed"] == failed
    assert await mails.value(SUPPRESSED) == 0


REFUSED = ("550 5.7.1 not from you", "552 5.2.2 mailbox full", "554 5.6.0 not this")
FAILED_ROWS = """
select left(smtp_answer, 3)::int as code from notifications
where state = 'failed' and why = 'refused_by_server' and attempts = 0 order by id desc limit $1
"""


@pytest.mark.timeout(PATIENT)
@pytest.mark.parametrize("phase", ["rcpt", "data", "dot"])
async def test_a_mail_refused_for_good_fails_alone_and_is_not_tried_again(system: System, phase: str) -> None:
    """After RCPT not even a code about the address suppresses it."""
    mails = await Mails.begin(system)
    refused = REFUSED if phase == "rcpt" else (*REFUSED, "550 5.1.1 no such mailbox")
    reached, failed = system.sink.reached(phase), (await mails.ended())["failed"]
    system.sink.once(phase, *refused)
    await mails.cause(6)
    await system.verdict()
    assert system.sink.reached(phase) == reached + 6
    assert not mails.again()
    assert len(mails.arrived) == mails.caused - len(refused)
    assert (await mails.ended())["failed"] == failed + len(refused)
    codes = [row["code"] for row in await mails.rows(FAILED_ROWS, len(refused))]
    assert sorted(codes) == sorted(int(answer[:3]) for answer in refused)
    assert await mails.value(SUPPRESSED) == 0


@pytest.mark.timeout(PATIENT)
async def test_a_bad_address_gets_no_more_mail(system: System) -> None:
    mails = await Mails.begin(system)
    before = await mails.ended()
    system.sink.once("rcpt", "550 5.1.1 no such mailbox")
    try:
        await mails.cause(1)
        await system.verdict()
        assert await mails.value(SUPPRESSED) == 1
        reached = system.sink.reached("rcpt")
        await mails.cause(2)
        await system.verdict()
        assert system.sink.reached("rcpt") == reached
        assert not mails.arrived
        assert await mails.ended() - before == {"failed": 1, "skipped": 2}
    finally:
        await mails.rows("delete from suppressions")


@pytest.mark.timeout(PATIENT)
async def test_a_server_whose_starttls_fails_is_an_outage(system: System, tmp_path: Path) -> None:
    """No mail is sent in the clear or to another host; when TLS works again the same mailer sends all of them."""
    sink, mails = system.sink, await Mails.begin(system)
    good, trusted = certificate(tmp_path, "localhost")
    (tmp_path / "untrusted").mkdir()
    untrusted, _ = certificate(tmp_path / "untrusted", "localhost")
    failed, attempts = (await mails.ended())["failed"], await mails.value(ATTEMPTS)

    async def fail_with(name: str, answer: str | None, offered: bool = True) -> None:
        if answer:
            sink.answers["starttls"] = answer
        if not offered:
            sink.offers.remove("STARTTLS")
        await sink.hang_up()
        phase = "starttls" if offered else "ehlo"
        caused, reached = mails.caused, sink.reached(phase)
        await mails.cause(3)
        await eventually(lambda: sink.reached(phase) > reached + 1, 60)  # so it has failed once and tries again
        assert mails.so_far() == caused, name
        sink.answers.pop("starttls", None)
        if not offered:
            sink.offers.append("STARTTLS")
        sink.tls = good
        back = time.monotonic()
        await eventually(lambda: mails.so_far() == mails.caused, 60)
        print(f"STARTTLS {name}: all mails were sent {time.monotonic() - back:.1f} s after it")

    sink.offers.append("STARTTLS")
    sink.tls = good
    try:
        async with mails.mailer_with(SMTP_HOST="localhost", SMTP_SECURITY="starttls", SMTP_CA_FILE=str(trusted)):
            await fail_with("refused", "454 4.7.0 TLS not available")
            await fail_with("broken off", CLOSE)
            await fail_with("reset", RESET)
            await fail_with("not offered", None, offered=False)
            sink.tls = untrusted
            await fail_with("with an untrusted certificate", None)
    finally:
        sink.offers.remove("STARTTLS")
        sink.tls = None
    await system.verdict()
    assert not mails.again()
    assert (await mails.ended())["failed"] == failed
    assert await mails.value(ATTEMPTS) == attempts
    assert await mails.value(SUPPRESSED) == 0


@pytest.mark.parametrize(
    ("away", "count"),
    [
        pytest.param(5, 60, id="short", marks=pytest.mark.timeout(PATIENT)),
        pytest.param(1800, 10_000, id="full", marks=[pytest.mark.chaos, pytest.mark.timeout(2 * HOUR)]),
    ],
)
async def test_the_backlog_of_an_outage_is_sent_soon_after_it(system: System, away: int, count: int) -> None:
    mails = await Mails.begin(system)
    failed = (await mails.ended())["failed"]
    begun = time.monotonic()
    async with system.sink.gone():
        await mails.cause(count)
        written = time.monotonic() - begun
        await asyncio.sleep(max(0, away - written))  # the length of the outage is what is tested
        assert not mails.so_far()
    gone = time.monotonic() - begun
    back = time.monotonic()
    await eventually(mails.so_far, timeout=60)
    first = time.monotonic() - back
    await eventually(lambda: mails.so_far() == count, timeout=DRAIN_SECONDS, pause=0.1)
    drained = time.monotonic() - back
    print(
        f"{count} mails, written in {written:.0f} s, outage {gone:.0f} s: the first went {first:.1f} s after it, "
        f"all in {drained:.1f} s ({count / drained:.0f} mails/s)"
    )
    await system.verdict()
    assert not mails.again()
    assert len(mails.arrived) == count
    assert (await mails.ended())["failed"] == failed
    assert await mails.value(SUPPRESSED) == 0


@pytest.mark.parametrize(
    "stall",
    [
        pytest.param(7, id="short", marks=pytest.mark.timeout(PATIENT)),
        pytest.param(60, id="full", marks=[pytest.mark.chaos, pytest.mark.timeout(HOUR)]),
    ],
)
async def test_a_server_that_stalls_after_the_dot_makes_no_duplicates(system: System, stall: int) -> None:
    """Longer than any other step may take; in the full test, longer than a lease that nobody renews."""
    mails = await Mails.begin(system)
    dots = system.sink.reached("dot")
    system.sink.delays["dot"] = stall
    begun = time.monotonic()
    try:
        await mails.cause(CONNECTIONS)
        await eventually(lambda: mails.so_far() == mails.caused, timeout=10 * stall + 60)
    finally:
        del system.sink.delays["dot"]
    took = time.monotonic() - begun
    await system.verdict()
    assert system.sink.reached("dot") == dots + mails.caused
    assert not mails.again()
    print(f"{mails.caused} mails to a server that stalled {stall} s after each dot: {took:.0f} s, no duplicate")
    assert took >= stall
