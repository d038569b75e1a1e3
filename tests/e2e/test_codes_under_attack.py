"""Guessing the codes of sign-in mails: nothing is learnt, whatever is guessed, and nobody is kept from their link."""

import asyncio
import re
import secrets
import statistics
import time
from collections import Counter, defaultdict

import asyncpg
import pytest

from tests.client import LINK, Client, HttpResponse
from tests.smtp_sink import SmtpSink
from tests.stack import Stack
from tests.waiting import eventually

CODE = re.compile(r"\b[0-9]{8}\b")
TRIES = 5  # of one request
JUDGED = 10  # wrong codes of one address in an hour
AT_ONCE = 6
CHANGING = {"date", "x-request-id"}

Shape = tuple[object, ...]


def shape(answer: HttpResponse) -> Shape:
    """Return everything of an answer that could tell something: status, headers, and body without its random parts."""
    headers = sorted((name.lower(), value) for name, value in answer.headers.items() if name.lower() not in CHANGING)
    body = {name: value for name, value in answer.json.items() if name != "instance"}
    if "request" in body:
        body["request"] = len(body["request"])
    return answer.status, tuple(headers), tuple(sorted(body.items()))


class Attacker:
    """Asks for mails to an address and guesses their codes, five times each; notes what the answers look like.

    Attributes:
        asked, guessed: the shapes of the answers, by whose they are.
        seconds: how long each guess took, by whose it was.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self.asked: dict[str, Counter[Shape]] = defaultdict(Counter)
        self.guessed: dict[str, Counter[Shape]] = defaultdict(Counter)
        self.seconds: dict[str, list[float]] = defaultdict(list)

    async def ask(self, whose: str, email: str, name: str | None = None) -> str:
        """Ask for a mail, and return the name of the request."""
        body = {"email": email} | ({"name": name} if name else {})
        answer = await self._client.call("POST", "/v1/people" if name else "/v1/sign-in", body)
        self.asked[whose][shape(answer)] += 1
        return str(answer.json["request"])

    async def guess(self, whose: str, request: str, code: str | None = None) -> None:
        begun = time.perf_counter()
        body = {"request": request, "code": code or f"{secrets.randbelow(10**8):08}"}
        answer = await self._client.call("POST", "/v1/sessions", body)
        self.seconds[whose].append(time.perf_counter() - begun)
        self.guessed[whose][shape(answer)] += 1

    async def attack(self, known: str, unknown: str, guesses: int) -> None:
        """Guess: a third of a known address, a third of an unknown one, a third of requests that were never made."""

        async def batch(number: int) -> None:
            whose = ("known", "unknown", "invented")[number % 3]
            name = "Mallory" if number % 2 else None
            match whose:
                case "known":
                    request = await self.ask(whose, known, name)
                case "unknown":
                    request = await self.ask(whose, unknown, name)
                case _:
                    request = secrets.token_urlsafe(16)
            for _ in range(TRIES):
                await self.guess(whose, request)

        left = iter(range(guesses // TRIES))

        async def work() -> None:
            for number in left:
                await batch(number)

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))


class Owner:
    """The owner of the address that is attacked, who reads their mail and uses the newest link in it."""

    def __init__(self, client: Client, sink: SmtpSink, email: str) -> None:
        self._client, self._sink, self.email = client, sink, email
        self._read = len(sink.to(email))

    async def sign_in(self) -> None:
        """Ask for a mail and use the newest link, until one works; who asked for that mail does not matter.

        One that was on its way when another link was used does not work any more.
        """
        for _ in range(5):
            await self._client.call("POST", "/v1/sign-in", {"email": self.email})
            link = LINK.search(await self._newest())
            assert link is not None
            session = await self._client.call("POST", "/v1/sessions", {"token": link[1]})
            if session.status != 410:
                break
        assert (session.status, session.json["person"]["email"]) == (201, self.email)

    async def code(self) -> tuple[str, str]:
        """Ask for a mail while none is on its way; return its request and its code."""
        self._read = len(self._sink.to(self.email))
        asked = await self._client.call("POST", "/v1/sign-in", {"email": self.email})
        found = CODE.search(await self._newest())
        assert found is not None
        return asked.json["request"], found[0]

    async def _newest(self) -> str:
        """Wait for a mail that was not read yet, and return the text of the newest one."""
        await eventually(lambda: len(self._sink.to(self.email)) > self._read, timeout=30)
        mails = self._sink.to(self.email)
        self._read = len(mails)
        return mails[-1].text


async def settled(database: asyncpg.Connection, email: str) -> None:
    """Wait until no mail to the address is on its way."""

    async def none_open() -> bool:
        sql = "select count(*) from sign_in_requests where lookup = $1 and outcome is null"
        return bool(await database.fetchval(sql, email) == 0)

    await eventually(none_open, timeout=60)


async def judged(database: asyncpg.Connection, email: str) -> int:
    return int(await database.fetchval("select count(*) from sign_in_wrong_codes where lookup = $1", email))


@pytest.mark.parametrize("guesses", [120, pytest.param(10_000, marks=[pytest.mark.chaos, pytest.mark.timeout(1_800)])])
async def test_guessing_teaches_nothing_and_keeps_nobody_from_their_link(
    stack: Stack, client: Client, session_sink: SmtpSink, unique: str, guesses: int
) -> None:
    known, unknown = f"olga.{unique}@example.com", f"nobody.{unique}@example.com"
    await client.sign_in("Olga", known)
    owner, attacker = Owner(client, session_sink, known), Attacker(client)
    database = await asyncpg.connect(stack.database_urls["people"])
    try:
        begun = time.perf_counter()
        for _ in range(2):  # while a half of the guesses is made, and while the other one is
            attack = asyncio.create_task(attacker.attack(known, unknown, guesses // 2))
            await owner.sign_in()
            await attack
            await owner.sign_in()
        took = time.perf_counter() - begun

        assert len({shape for shapes in attacker.guessed.values() for shape in shapes}) == 1
        ((status, *_),) = attacker.guessed["known"]
        assert status == 401
        assert len({shape for shapes in attacker.asked.values() for shape in shapes}) == 1
        assert [await judged(database, each) for each in (known, unknown)] == [JUDGED, JUDGED]
        assert await database.fetchval("select count(*) from addresses where lookup = $1", unknown) == 0

        await settled(database, known)  # strangers have ended codes for this address: the right one is like any other
        request, code = await owner.code()
        await attacker.guess("ended", request, code)
        assert attacker.guessed["ended"].keys() == attacker.guessed["unknown"].keys()
        await owner.sign_in()
        await settled(database, known)
        await database.execute(
            "update sign_in_wrong_codes set tried_at = tried_at - interval '61 minutes' where lookup = $1", known
        )
        request, code = await owner.code()
        assert (await client.call("POST", "/v1/sessions", {"request": request, "code": code})).status == 201
    finally:
        await database.close()
    middles = {whose: f"{statistics.median(found) * 1000:.1f} ms" for whose, found in attacker.seconds.items()}
    made = sum(map(len, attacker.seconds.values()))
    print(f"\n{made:,} guesses in {took:.0f} s, one answer; judged {JUDGED} of each address; medians: {middles}")


async def test_the_pages_tell_no_more_than_the_api(client: Client, session_sink: SmtpSink, unique: str) -> None:
    known, unknown = f"olaf.{unique}@example.com", f"none.{unique}@example.com"
    await client.sign_in("Olaf", known)
    seen: list[list[tuple[object, ...]]] = []
    for email in (known, unknown):
        pages = []
        asked = await client.call("POST", "/sign-in", data={"email": email}, headers={"Origin": client.url})
        found = re.search(r'name="request" value="([^"]+)"', asked.body.decode())
        assert found is not None
        form = {"request": found[1], "email": email, "code": "00000000"}
        for answer in (
            asked,
            *[
                await client.call("POST", "/sign-in/code", data=form, headers={"Origin": client.url})
                for _ in range(TRIES + 1)
            ],
        ):
            text = answer.body.decode().replace(found[1], "REQUEST").replace(email, "ADDRESS")
            headers = {name.lower(): value for name, value in answer.headers.items()}
            headers["set-cookie"] = re.sub(r"=[\w-]{43};", "=NONCE;", headers["set-cookie"])
            headers["content-length"] = str(len(text))
            kept = sorted((name, value) for name, value in headers.items() if name not in CHANGING)
            pages.append((answer.status, re.sub(r'value="[0-9a-f-]{36}"', 'value="KEY"', text), *kept))
        seen.append(pages)
    assert [page[0] for page in seen[0]] == [202, *[401] * (TRIES + 1)]
    assert seen[0] == seen[1]
