"""One running system for the tests of the public contract, and a user in every role."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from services.chassis.client.client import ServiceClient, within
from services.chassis.client.connection_pool import ConnectionPool
from services.chassis.identity import Signer
from tests.client import Client, Person
from tests.servers import Servers
from tests.smtp_sink import SmtpSink
from tests.stack import Stack, chosen_shape, started

NewPerson = Callable[..., Awaitable[Person]]


@pytest.fixture(scope="session")
async def stack(
    servers: Servers, session_sink: SmtpSink, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("contract")
    stack = Stack(servers, folder, session_sink.port, name=f"api{folder.parent.name[-6:]}".replace("-", "_"))
    async with started(stack, chosen_shape()):
        yield stack


@pytest.fixture(scope="session")
async def client(stack: Stack, session_sink: SmtpSink) -> AsyncIterator[Client]:
    async with Client(stack.url, session_sink) as client:
        yield client


@pytest.fixture(scope="session")
async def new_person(stack: Stack, client: Client) -> AsyncIterator[NewPerson]:
    """`await new_person("Anna", "author")`: a new signed-in user with that role."""
    signer, connections = Signer(stack.keys["OPERATOR_SIGNING_KEY"], "operator"), ConnectionPool()
    operator = ServiceClient(f"http://127.0.0.1:{stack.ports['people']}", "people", signer, connections=connections)
    count = 0

    async def make(name: str = "Somebody", role: str = "reader") -> Person:
        nonlocal count
        count += 1
        email = f"{role}.{count}@contract.example.com"
        person = await client.sign_in(name, email)
        if role == "reader":
            return person
        granted = await operator.call("POST", "/grants", body={"email": email, "role": role}, deadline=within(5))
        assert granted.status == 200, granted.data
        return await client.sign_in(name, email)

    yield make
    await connections.close()


@pytest.fixture(scope="session")
async def author(new_person: NewPerson) -> Person:
    return await new_person("Ada Author", "author")


@pytest.fixture(scope="session")
async def moderator(new_person: NewPerson) -> Person:
    return await new_person("Mo Moderator", "moderator")


@pytest.fixture(scope="session")
async def admin(client: Client) -> Person:
    """Return the user whose address is in ADMIN_EMAILS."""
    return await client.sign_in("Ada Admin", "admin@example.com")


@pytest.fixture(scope="session")
async def anna(new_person: NewPerson) -> Person:
    return await new_person("Anna")


@pytest.fixture(scope="session")
async def ben(new_person: NewPerson) -> Person:
    return await new_person("Ben")
