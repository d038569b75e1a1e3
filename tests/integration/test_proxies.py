"""The gateway behind nginx and HAProxy, the real ones, with the configurations that deploy/proxies recommends."""

import asyncio
import itertools
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from services.chassis.http import protocol
from services.chassis.http.protocol import LimitedHttpProtocol
from services.chassis.http.server import serve
from services.gateway.access.client_ip import ClientAddresses
from services.gateway.app import create_app
from tests.certificates import certificate
from tests.installed import Installed
from tests.integration.gateway_harness import ID, SLUG, GatewayHarness, always_ready, harnesses
from tests.servers import free_port
from tests.unit.gateway_fakes import answered
from tests.waiting import eventually

SAMPLES = Path(__file__).parent.parent.parent / "deploy/proxies"
HOST, PUBLIC_URL = "blog.example", "https://blog.example"
NGINX = """\
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
access_log off;
client_body_temp_path {folder}/body;
proxy_temp_path {folder}/proxy;
fastcgi_temp_path {folder}/fastcgi;
uwsgi_temp_path {folder}/uwsgi;
scgi_temp_path {folder}/scgi;
{sample}
}}
"""


@dataclass
class Behind:
    """A gateway, the proxy before it, and what the gateway took for its clients' addresses."""

    harness: GatewayHarness
    tls_port: int
    plain_port: int
    authority: ssl.SSLContext
    seen: list[str | None]
    connections: list[object]

    @asynccontextmanager
    async def client(self, source: str = "127.0.0.1") -> AsyncIterator[aiohttp.ClientSession]:
        """Yield a client at an address of this machine that resolves the site's name to the proxy."""
        connector = aiohttp.TCPConnector(
            ssl=self.authority, local_addr=(source, 0), resolver=_ToProxy(self.tls_port), force_close=True
        )
        async with aiohttp.ClientSession(PUBLIC_URL, connector=connector) as session:
            yield session


class _ToProxy(aiohttp.abc.AbstractResolver):
    def __init__(self, port: int) -> None:
        self._port = port

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[Any]:
        return [{"hostname": host, "host": "127.0.0.1", "port": self._port, "family": 2, "proto": 0, "flags": 0}]

    async def close(self) -> None:
        """Do nothing: there is nothing to close."""


def proxy(name: str, folder: Path, tls: int, plain: int, gateway: int) -> Installed:
    """Return the proxy with its recommended configuration, only ports and places replaced."""
    sample = (SAMPLES / ("nginx.conf" if name == "nginx" else "haproxy.cfg")).read_text()
    for line in ("    listen [::]:443 ssl http2;\n", "    listen [::]:80;\n"):
        sample = sample.replace(line, "")
    replaced = {
        "listen 443": f"listen 127.0.0.1:{tls}",
        "listen 80": f"listen 127.0.0.1:{plain}",
        "bind :443": f"bind 127.0.0.1:{tls}",
        "bind :80": f"bind 127.0.0.1:{plain}",
        "127.0.0.1:8000": f"127.0.0.1:{gateway}",
        "/etc/ssl/rapport": str(folder),
    }
    for old, new in replaced.items():
        sample = sample.replace(old, new)
    if name == "nginx":
        sample = NGINX.format(folder=folder, sample=sample)
    arguments = {"nginx": ["-p", "{folder}", "-c", "{config}"], "haproxy": ["-db", "-f", "{config}"]}[name]
    return Installed(name, folder, tls, sample, arguments)


@pytest.fixture(params=["nginx", "haproxy"])
async def behind(
    request: pytest.FixtureRequest,
    keys: dict[str, str],
    redis_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Behind]:
    _, trusted = certificate(tmp_path, HOST)
    for name in ("fullchain.pem", "key.pem", "chain-and-key.pem"):
        (tmp_path / name).symlink_to(trusted)
    seen: list[str | None] = []
    find = ClientAddresses.client

    def client(self: ClientAddresses, *given: Any) -> str | None:
        seen.append(find(self, *given))
        return seen[-1]

    monkeypatch.setattr(ClientAddresses, "client", client)
    monkeypatch.setattr(protocol, "BODY_SECONDS", 0.5)
    connections: list[object] = []
    connect = LimitedHttpProtocol.connection_made

    def connection_made(self: LimitedHttpProtocol, transport: asyncio.Transport) -> None:
        connections.append(transport)
        connect(self, transport)

    monkeypatch.setattr(LimitedHttpProtocol, "connection_made", connection_made)
    gateway_port, tls, plain = free_port(), free_port(), free_port()
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        make = await stack.enter_async_context(harnesses(keys, redis_url))
        harness = await make(public_url=PUBLIC_URL, trusted_proxies="127.0.0.1", rate_limits="on")
        app = create_app(harness.gateway, always_ready)
        role = serve(app, "127.0.0.1", gateway_port, drain_seconds=1)
        serving = asyncio.ensure_future(role.run(stop))
        server = proxy(request.param, tmp_path, tls, plain, gateway_port)
        await asyncio.to_thread(server.start)
        try:
            context = ssl.create_default_context(cafile=str(trusted))
            found = Behind(harness, tls, plain, context, seen, connections)

            async def answers() -> bool:
                async with found.client() as session, session.get("/livez") as answer:
                    return answer.status == 200

            await eventually(answers)
            seen.clear()
            yield found
        finally:
            await asyncio.to_thread(server.stop)
            stop.set()
            await serving


async def test_each_client_is_known_by_its_own_address(behind: Behind) -> None:
    number = itertools.count(1)
    for source in ("127.0.0.1", "127.0.0.7", "127.0.0.8"):
        async with behind.client(source) as session:
            for forged in ("", "203.0.113.7", "203.0.113.7, 127.0.0.1", "127.0.0.1", "garbage"):
                headers = {"X-Forwarded-For": forged} if forged else {}
                behind.seen.clear()
                async with session.get(f"/v1/posts?limit={next(number)}", headers=headers) as answer:  # from no cache
                    assert answer.status == 200
                if source != "127.0.0.1":  # that of the proxy itself, whose word is believed
                    assert set(behind.seen) == {source}


async def test_forms_work_under_https_before_a_plain_gateway(behind: Behind) -> None:
    behind.harness.services.people.on("POST", "/sign-in", lambda _: answered({"status": "check_your_mail"}, 202))
    form = {"email": "anna@example.com"}
    async with behind.client() as session:
        async with session.get("/sign-in") as page:
            text = await page.text()
            assert page.status == 200
            assert "http://blog.example" not in text
        async with session.post("/sign-in", data=form, headers={"Origin": PUBLIC_URL}) as answer:
            assert answer.status < 400, await answer.text()
        async with session.post("/sign-in", data=form, headers={"Origin": "http://evil.example"}) as answer:
            assert answer.status == 403
        async with session.get("/v1/posts", headers={"Origin": "https://front.example"}) as answer:
            links = answer.headers.getall("Location", [])
            assert all(link.startswith(("/", PUBLIC_URL)) for link in links)


async def test_refusals_of_the_gateway_reach_the_client(behind: Behind) -> None:
    path = f"/v1/posts/{ID}/comments"
    async with behind.client() as session:
        large = b'{"body": "' + b"x" * 600_000 + b'"}'
        headers = behind.harness.anna | {"Content-Type": "application/json"}
        async with session.post(path, data=large, headers=headers) as answer:
            assert answer.status == 413
            assert (await answer.json())["type"] == "/problems/too-large"

        async def slowly() -> AsyncIterator[bytes]:
            yield b'{"body": '
            await asyncio.sleep(4)
            yield b'"x"}'

        async with session.post(path, data=slowly(), headers=headers) as answer:
            assert answer.status == 408
            assert answer.headers["Content-Type"] == "application/problem+json"
        async with session.get("/v1/nothing") as answer:
            assert answer.status == 404
            assert answer.headers["Content-Type"] == "application/problem+json"


async def test_many_requests_share_few_connections_and_entity_tags_survive(behind: Behind) -> None:
    async with behind.client() as session:
        async with session.get(f"/v1/posts/{ID}") as answer:
            tag = answer.headers["ETag"]
        async with session.get(f"/v1/posts/{ID}", headers={"If-None-Match": tag}) as answer:
            assert answer.status == 304

        async def status() -> int:
            async with session.get(f"/v1/posts/{ID}/comments") as answer:
                await answer.read()
                return answer.status

        before = len(behind.connections)
        for _ in range(5):
            assert set(await asyncio.gather(*(status() for _ in range(20)))) == {200}
        assert len(behind.connections) - before < 60  # of 100 connections of clients
        async with session.head(f"/posts/{SLUG}") as answer:
            assert answer.status == 200


async def test_plain_http_is_led_to_https(behind: Behind) -> None:
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{behind.plain_port}/posts/x?a=b"
        async with session.get(url, headers={"Host": HOST}, allow_redirects=False) as answer:
            assert answer.status == 301
            assert answer.headers["Location"].startswith("https://blog.example")
            assert answer.headers["Location"].endswith("/posts/x?a=b")
