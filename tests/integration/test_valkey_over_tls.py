"""Valkey that takes nobody without TLS and a password: limits shared through it, and each wrong way named."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import structlog
from pydantic import ValidationError
from redis.asyncio import Redis

from deploy.local import checks
from deploy.local.layout import Layout
from deploy.local.processes import LocalError
from services.chassis.errors import Problem
from services.chassis.runtime.process import Health
from services.gateway.__main__ import compose
from services.gateway.access import counters as module
from services.gateway.access.counters import Counters, Policy
from services.gateway.access.pseudonyms import Pseudonyms
from services.gateway.access.rate_limits import RateLimits
from services.gateway.access.valkey import Valkey
from services.gateway.access.valkey_faults import valkey_fault
from services.gateway.settings import GatewaySettings
from services.operator.doctor.neighbours import check_valkey
from tests.certificates import certificate
from tests.integration.test_operator_doctor import around
from tests.servers import free_port
from tests.servers_with_tls import ValkeyWithTls
from tests.waiting import eventually

PASSWORD = "pass-of-valkey"
GUESSED = "guessed-one"
POLICY = Policy("writing", 3, 86_400)
RELAXED = Policy("reading", 3, 86_400, strict=False)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyWithTls]:
    folder = tmp_path_factory.mktemp("valkey-tls")
    _, pem = certificate(folder, "localhost")
    server = ValkeyWithTls(folder / "valkey", free_port(), password=PASSWORD, pem=pem)
    server.start()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
async def empty(server: ValkeyWithTls) -> None:
    async with Redis.from_url(server.url, ssl_ca_certs=str(server.pem)) as client:
        await client.flushdb()


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    """Return the certificate of an authority that did not sign the server's."""
    return certificate(tmp_path, "elsewhere")[1]


@asynccontextmanager
async def counters(url: str, authorities: Path | str) -> AsyncIterator[Counters]:
    valkey = Valkey(url, authorities=str(authorities))
    opened = Counters(valkey, pseudonyms=Pseudonyms("secret"), pause=0.05)
    try:
        yield opened
    finally:
        await opened.close()
        await valkey.close()


async def spend(counters: Counters, policy: Policy = POLICY) -> dict[str, str]:
    headers: dict[str, str] = {}
    await RateLimits(counters).spend(headers, (policy, "anna"))
    return headers


async def test_gateways_share_their_counts_through_it(server: ValkeyWithTls) -> None:
    async with counters(server.url, server.pem) as one, counters(server.url, server.pem) as other:
        for each in (one, other, one):
            await spend(each)
        with pytest.raises(Problem, match="too-many-requests"):
            await spend(other)
        assert not one.away
        assert not other.away
        assert module.VALKEY_AWAY.own._value.get() == 0


# how the way in is wrong: what the sentence says, and the variable
WRONG = {
    "unknown authority": ("has a certificate that is not trusted", "REDIS_CA_FILE"),
    "the system's authorities": ("has a certificate that is not trusted", "REDIS_CA_FILE"),
    "another name": ("has a certificate for another name", "REDIS_URL"),
    "wrong password": ("does not accept the name and password", "REDIS_URL"),
    "no password": ("does not accept the name and password", "REDIS_URL"),
    "wrong user": ("does not accept the name and password", "REDIS_URL"),
    "no such database": ("no database of this number", "REDIS_URL"),
    "plain text": ("speaks TLS", "REDIS_URL"),
    "no TLS there": ("does not answer in TLS", "REDIS_URL"),
}


def wrong_way(way: str, server: ValkeyWithTls, stranger: Path, open_url: str) -> tuple[str, Path | str]:
    """Return a wrong address and the file of the authorities."""
    url, host = server.url, f"localhost:{server.port}"
    ways: dict[str, tuple[str, Path | str]] = {
        "unknown authority": (url, stranger),
        "the system's authorities": (url, ""),
        "another name": (url.replace("@localhost:", "@127.0.0.1:"), server.pem),
        "wrong password": (url.replace(PASSWORD, GUESSED), server.pem),
        "no password": (f"rediss://{host}/0", server.pem),
        "wrong user": (url.replace("//:", "//nobody:"), server.pem),
        "no such database": (url.removesuffix("0") + "4711", server.pem),
        "plain text": (url.replace("rediss:", "redis:"), ""),
        "no TLS there": (open_url.replace("redis:", "rediss:"), server.pem),
    }
    return ways[way]


@pytest.mark.parametrize("way", WRONG)
async def test_requests_go_on_and_the_setting_is_named_once(
    way: str, server: ValkeyWithTls, stranger: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, variable = WRONG[way]
    tries: list[str] = []

    async def counted(error: BaseException, url: str) -> str | None:
        tries.append(url)
        return await valkey_fault(error, url)

    monkeypatch.setattr(module, "valkey_fault", counted)
    with structlog.testing.capture_logs() as logged:
        async with counters(*wrong_way(way, server, stranger, redis_url)) as one:
            for _ in range(POLICY.quota):
                assert "RateLimit" in await spend(one)
            with pytest.raises(Problem, match="too-many-requests"):
                await spend(one)
            for _ in range(5):
                assert await spend(one, RELAXED) == {}
            assert module.VALKEY_AWAY.own._value.get() == 1
            await eventually(lambda: any(": check " in each["event"] for each in logged))
            asked = len(tries)
            await eventually(lambda: len(tries) >= asked + 2)
    [sentence] = [each["event"] for each in logged if ": check " in each["event"]]
    assert said in sentence
    assert variable in sentence
    assert PASSWORD not in str(logged)
    assert GUESSED not in str(logged)


async def test_it_is_used_again_as_soon_as_the_right_authority_is_in_the_file(
    server: ValkeyWithTls, stranger: Path, tmp_path: Path
) -> None:
    trusted = tmp_path / "authorities.pem"
    shutil.copy(stranger, trusted)
    async with counters(server.url, trusted) as one:
        await spend(one)
        assert module.VALKEY_AWAY.own._value.get() == 1
        shutil.copy(server.pem, trusted)
        await eventually(lambda: not one.away)
        assert module.VALKEY_AWAY.own._value.get() == 0
        assert "RateLimit" in await spend(one, RELAXED)


async def test_it_is_used_again_as_soon_as_it_takes_the_password(server: ValkeyWithTls) -> None:
    admin = Redis.from_url(server.url, ssl_ca_certs=str(server.pem))
    async with admin, counters(server.url.replace("//:", "//late:"), server.pem) as one:
        await spend(one)
        assert one.away
        await admin.acl_setuser("late", enabled=True, passwords=[f"+{PASSWORD}"], keys=["*"], categories=["+@all"])
        await eventually(lambda: not one.away)


@pytest.mark.parametrize("way", ["right", "unknown authority", "wrong password"])
async def test_a_whole_gateway_serves_with_it_and_without_it(
    way: str, server: ValkeyWithTls, stranger: Path, keys: dict[str, str], redis_url: str
) -> None:
    url, authorities = (server.url, server.pem) if way == "right" else wrong_way(way, server, stranger, redis_url)
    settings = gateway_settings(keys, redis_url=url, redis_ca_file=str(authorities))
    stop = asyncio.Event()
    async with compose(settings, ["api"], Health()) as roles, aiohttp.ClientSession() as session:
        running = [asyncio.ensure_future(role.run(stop)) for role in roles]

        async def answered() -> bool:
            try:
                async with session.post(f"http://127.0.0.1:{settings.gateway_port}/v1/people", json={}) as answer:
                    return answer.status == 422 or "RateLimit" in answer.headers
            except aiohttp.ClientError:
                return False

        await eventually(answered)
        await eventually(lambda: module.VALKEY_AWAY.own._value.get() == (way != "right"))
        assert not any(task.done() for task in running)
        stop.set()
        await asyncio.wait_for(asyncio.gather(*running), 20)


def gateway_settings(keys: dict[str, str], **other: object) -> GatewaySettings:
    nowhere = f"http://127.0.0.1:{free_port()}"
    return GatewaySettings.model_validate(
        {
            "gateway_port": free_port(),
            "gateway_metrics_port": free_port(),
            "gateway_signing_key": keys["GATEWAY_SIGNING_KEY"],
            "verification_keys": keys["VERIFICATION_KEYS"],
            **{f"{service}_url": nowhere for service in ("posts", "comments", "people", "notify")},
            "kafka_bootstrap_servers": f"127.0.0.1:{free_port()}",
            "read_deadline_seconds": 0.5,
            **other,
        }
    )


def test_authorities_without_tls_are_refused_at_the_start(keys: dict[str, str], server: ValkeyWithTls) -> None:
    with pytest.raises(ValidationError, match="REDIS_CA_FILE is set, but REDIS_URL has no TLS"):
        gateway_settings(keys, redis_url="redis://localhost:6379/0", redis_ca_file=str(server.pem))


async def test_the_doctor_reaches_it_and_names_the_mend(server: ValkeyWithTls, stranger: Path) -> None:
    found = await check_valkey(around(redis_url=server.url, redis_ca_file=str(server.pem)))
    assert {each.level for each in found} == {"ok"}
    [other] = await check_valkey(around(redis_url=server.url, redis_ca_file=str(stranger)))
    assert (other.level, "not trusted" in other.found, "REDIS_CA_FILE" in other.mend) == ("fault", True, True)
    [guessed] = await check_valkey(
        around(redis_url=server.url.replace(PASSWORD, GUESSED), redis_ca_file=str(server.pem))
    )
    assert (guessed.level, "REDIS_URL" in guessed.mend) == ("fault", True)


def test_make_up_takes_a_given_one(
    server: ValkeyWithTls, stranger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "PATIENCE_SECONDS", 0.1)
    checks.check_given_servers(Layout(tmp_path, {"REDIS_URL": server.url, "REDIS_CA_FILE": str(server.pem)}))
    with pytest.raises(LocalError, match="check REDIS_URL and REDIS_CA_FILE"):
        checks.check_given_servers(Layout(tmp_path, {"REDIS_URL": server.url, "REDIS_CA_FILE": str(stranger)}))
