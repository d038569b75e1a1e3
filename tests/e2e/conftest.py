"""One running system for all end-to-end tests: five processes, one per service, as `make up` starts them."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web

from tests import smtp_sink as smtp
from tests.client import Client, Person
from tests.e2e.named_site import named
from tests.e2e.own_system import OwnSystem
from tests.servers import PrivateServers, Servers
from tests.smtp_sink import SmtpSink
from tests.stack import ROOT, Stack, started


@pytest.fixture(scope="session")
async def front_end() -> AsyncIterator[str]:
    """Serve one page of a front end elsewhere, and return its address."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(
            text="<!doctype html><title>Front end</title><h1>Welcome back</h1>", content_type="text/html"
        )

    app = web.Application()
    app.add_routes([web.get("/signed-in", page), web.get("/favicon.ico", page)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/signed-in"
    await runner.cleanup()


@dataclass
class ExampleFrontEnd:
    """`docs/examples/front-end.html` at an origin of its own.

    Attributes:
        address: of the page; one of RETURN_URLS.
        api: the address of the gateway that the page is told.
    """

    address: str
    api: str = ""


@pytest.fixture(scope="session")
async def example_front_end() -> AsyncIterator[ExampleFrontEnd]:
    async def page(_: web.Request) -> web.Response:
        text = (ROOT / "docs/examples/front-end.html").read_text()
        return web.Response(text=text.replace("http://127.0.0.1:8000", served.api), content_type="text/html")

    async def none(_: web.Request) -> web.Response:
        return web.Response(status=204)

    app = web.Application()
    app.add_routes([web.get("/front-end.html", page), web.get("/favicon.ico", none)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    served = ExampleFrontEnd(f"http://127.0.0.1:{runner.addresses[0][1]}/front-end.html")
    yield served
    await runner.cleanup()


@pytest.fixture(scope="session")
async def stack(
    servers: Servers,
    session_sink: SmtpSink,
    front_end: str,
    example_front_end: ExampleFrontEnd,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Stack]:
    folder: Path = tmp_path_factory.mktemp("stack")
    name = f"e2e{folder.parent.name[-6:]}".replace("-", "_")
    imprint = folder / "imprint.md"
    imprint.write_text("Ada, of no *fixed* abode.\n\n# Where to write to\n\nThe shoebox.")
    privacy = folder / "privacy.md"
    privacy.write_text("What you write is *shown*. Your address is not.\n\n# How long\n\nUntil you delete it.")
    overrides = named(folder) | {
        "CHANGES_POLL_SECONDS": "3",  # until a changed role counts
        "RETURN_URLS": f"{front_end},{example_front_end.address}",
        "SITE_IMPRINT_FILE": str(imprint),
        "SITE_PRIVACY_FILE": str(privacy),
    }
    stack = Stack(servers, folder, session_sink.port, name, overrides=overrides)
    example_front_end.api = stack.url
    async with started(stack):
        yield stack


@pytest.fixture(scope="session")
async def client(stack: Stack, session_sink: SmtpSink) -> AsyncIterator[Client]:
    async with Client(stack.url, session_sink) as client:
        yield client


@pytest.fixture(scope="session")
async def admin(client: Client) -> Person:
    """Return the user whose address is in ADMIN_EMAILS."""
    return await client.sign_in("Ada Admin", "admin@example.com")


@pytest.fixture
async def anna(client: Client, unique: str) -> Person:
    return await client.sign_in("Anna", f"anna.{unique}@example.com")


@pytest.fixture
async def ben(client: Client, unique: str) -> Person:
    return await client.sign_in("Ben", f"ben.{unique}@example.com")


@pytest.fixture(scope="session")
async def own_system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OwnSystem]:
    """A second system with servers of its own; posts and notify run as one process per role."""
    servers = PrivateServers(tmp_path_factory.mktemp("servers"), durable=False)
    try:
        async with smtp.listening() as sink:
            stack = Stack(
                servers,
                tmp_path_factory.mktemp("own"),
                sink.port,
                "own",
                overrides={"RATE_LIMITS": "on", "CHANGES_POLL_SECONDS": "3"},
            )
            try:
                await stack.prepare()
                await stack.up("posts", "notify")
                async with Client(stack.url, sink) as client:
                    ada = await client.sign_in("Ada Admin", "admin@example.com")
                    ben = await client.sign_in("Ben", "ben@example.com")
                    post_id = (await client.publish(ada, "Watched"))["id"]
                    yield OwnSystem(stack, servers, sink, client, ada, ben, post_id)
            finally:
                stack.down()
                await stack.drop()
    finally:
        servers.stop()


@pytest.fixture(scope="module")
async def sink() -> AsyncIterator[SmtpSink]:
    """The mailbox of `own_stack`."""
    async with smtp.listening() as listening:
        yield listening


@pytest.fixture(scope="module")
async def own_stack(
    servers: Servers, sink: SmtpSink, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stack]:
    """A system of one file of tests on the shared servers: its databases are changed by hand, or replaced."""
    name = request.path.stem.removeprefix("test_")
    folder = tmp_path_factory.mktemp(name)
    stack = Stack(servers, folder, sink.port, f"{name}{folder.parent.name[-6:]}".replace("-", "_"))
    async with started(stack):
        yield stack


@pytest.fixture(scope="module")
async def own_client(own_stack: Stack, sink: SmtpSink) -> AsyncIterator[Client]:
    async with Client(own_stack.url, sink) as client:
        yield client


@pytest.fixture(scope="module")
async def writer(own_client: Client) -> Person:
    return await own_client.sign_in("Ada Admin", "admin@example.com")
