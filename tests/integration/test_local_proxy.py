"""The proxy of docker-compose.yml, the real HAProxy, before two gateways that a name server tells it."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from deploy.local import trial_certificate
from services.chassis.http.server import serve
from services.gateway.app import create_app
from tests.dns import Names, name_server
from tests.installed import Installed, running_program
from tests.integration.gateway_harness import always_ready, harnesses
from tests.servers import free_port
from tests.waiting import eventually

CONFIG = Path(__file__).parent.parent.parent / "deploy/proxies/compose.cfg"
ADDRESSES = ("127.0.0.2", "127.0.0.3")
PUBLIC_URL = "https://rapport.localhost:8443"


@dataclass
class Scaled:
    """Two gateways behind the proxy."""

    proxy: Installed
    names: Names
    plain_port: int
    requests: dict[str, list[str]]
    stops: dict[str, asyncio.Event]
    authority: ssl.SSLContext

    async def get(self, path: str, **headers: str) -> int:
        connector = aiohttp.TCPConnector(ssl=self.authority, force_close=True)
        url = f"https://127.0.0.1:{self.proxy.port}{path}"
        async with aiohttp.ClientSession(connector=connector) as session, session.get(url, headers=headers) as answer:
            await answer.read()
            return answer.status

    async def served_by(self) -> set[str]:
        """Return the gateways that serve 20 requests made at once."""
        for seen in self.requests.values():
            seen.clear()
        statuses = await asyncio.gather(*(self.get("/livez") for _ in range(20)))
        assert set(statuses) == {200}
        return {address for address, seen in self.requests.items() if seen}


@pytest.fixture
async def scaled(
    keys: dict[str, str], redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Scaled]:
    monkeypatch.setenv("PUBLIC_URL", PUBLIC_URL)
    (tmp_path / "chain-and-key.pem").write_bytes(trial_certificate.make())
    gateway_port, tls, plain, health = (free_port() for _ in range(4))
    requests: dict[str, list[str]] = {address: [] for address in ADDRESSES}
    stops = {address: asyncio.Event() for address in ADDRESSES}
    async with AsyncExitStack() as stack:
        make = await stack.enter_async_context(harnesses(keys, redis_url))
        serving = []
        for address in ADDRESSES:
            harness = await make(public_url=PUBLIC_URL, trusted_proxies="127.0.0.1")
            app = create_app(harness.gateway, always_ready)

            async def counted(scope, receive, send, app=app, seen=requests[address]):  # type: ignore[no-untyped-def]
                if scope["type"] == "http" and scope["path"] == "/livez":
                    seen.append(dict(scope["headers"]).get(b"x-forwarded-for", b"").decode())
                await app(scope, receive, send)

            role = serve(counted, address, gateway_port, drain_seconds=1)
            serving.append(asyncio.ensure_future(role.run(stops[address])))
        names = await stack.enter_async_context(name_server(ADDRESSES))
        text = CONFIG.read_text()
        for old, new in {
            "127.0.0.11:53": f"127.0.0.1:{names.port}",
            "bind :8443": f"bind 127.0.0.1:{tls}",
            "bind :8080": f"bind 127.0.0.1:{plain}",
            "127.0.0.1:8404": f"127.0.0.1:{health}",
            "gateway:8000": f"gateway:{gateway_port}",
            "/etc/rapport": str(tmp_path),
        }.items():
            assert old in text
            text = text.replace(old, new)
        proxy = Installed("haproxy", tmp_path, tls, text, ["-db", "-f", "{config}"])
        authority = ssl.create_default_context(cadata=trial_certificate_of(tmp_path))
        found = Scaled(proxy, names, plain, requests, stops, authority)
        await asyncio.to_thread(proxy.start)
        try:
            await eventually(lambda: answers(found))
            yield found
        finally:
            await asyncio.to_thread(proxy.stop)
            for stop in stops.values():
                stop.set()
            await asyncio.gather(*serving)


def trial_certificate_of(folder: Path) -> str:
    found = re.search(
        r"-----BEGIN CERT.*?END CERTIFICATE-----\n", (folder / "chain-and-key.pem").read_text(), re.DOTALL
    )
    assert found is not None
    return found[0]


async def answers(scaled: Scaled) -> bool:
    return await scaled.get("/livez") == 200


async def test_every_gateway_that_the_name_server_tells_gets_work(scaled: Scaled) -> None:
    await eventually(lambda: both(scaled))
    scaled.names.addresses = [ADDRESSES[0]]  # --scale gateway=1

    async def one_is_left() -> bool:
        return await scaled.served_by() == {ADDRESSES[0]}

    await eventually(one_is_left, timeout=30)
    scaled.names.addresses = list(ADDRESSES)
    await eventually(lambda: both(scaled), timeout=30)


async def both(scaled: Scaled) -> bool:
    return await scaled.served_by() == set(ADDRESSES)


async def test_a_gateway_that_stops_costs_no_request(scaled: Scaled) -> None:
    await eventually(lambda: both(scaled))
    statuses: list[int] = []

    async def visitor() -> None:
        while not done.is_set():
            statuses.append(await scaled.get("/livez"))

    done = asyncio.Event()
    visitors = [asyncio.ensure_future(visitor()) for _ in range(4)]
    scaled.stops[ADDRESSES[1]].set()

    async def alone() -> bool:
        return len(scaled.requests[ADDRESSES[0]]) > 100

    scaled.requests[ADDRESSES[0]].clear()
    await eventually(alone, timeout=30)
    done.set()
    await asyncio.gather(*visitors)
    assert set(statuses) == {200}


async def test_the_address_of_a_client_is_the_proxy_s_word_alone(scaled: Scaled) -> None:
    for forged in ("203.0.113.7", "203.0.113.7, 127.0.0.1"):
        await scaled.get("/livez", **{"X-Forwarded-For": forged})
    assert {seen for requests in scaled.requests.values() for seen in requests} == {"127.0.0.1"}


async def test_plain_http_is_led_to_the_public_address(scaled: Scaled) -> None:
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{scaled.plain_port}/posts/x?a=b"
        async with session.get(url, allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (301, f"{PUBLIC_URL}/posts/x?a=b")


def test_the_proxy_starts_before_any_gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its certificate is read by the real program, and a name without an address ends nothing."""
    monkeypatch.setenv("PUBLIC_URL", PUBLIC_URL)
    (tmp_path / "chain-and-key.pem").write_bytes(trial_certificate.make(["blog.example"]))
    tls, plain, health = (free_port() for _ in range(3))
    text = (
        CONFIG.read_text().replace("/etc/rapport", str(tmp_path)).replace("127.0.0.11:53", f"127.0.0.1:{free_port()}")
    )
    for old, new in {":8443 ": f"127.0.0.1:{tls} ", ":8080": f"127.0.0.1:{plain}", "1:8404": f"1:{health}"}.items():
        text = text.replace(old, new)
    with running_program(Installed("haproxy", tmp_path, tls, text, ["-db", "-f", "{config}"])) as proxy:
        assert proxy.alive
