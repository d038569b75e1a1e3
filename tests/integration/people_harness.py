"""A harness of the people service: its app over a separate database, called as the other services call it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx2
from fastapi import FastAPI

from services.chassis.database.pool import Database
from services.chassis.identity import Signer, Verifier
from services.chassis.ids import new_id
from services.contracts.people import LINK_LIFE
from services.people.api import create_api
from services.people.commands import sign_in
from services.people.commands.starting import SignInRules
from services.people.store.sign_in import Claimed
from services.people.tokens import Tokens

PACKAGES = ("services.chassis", "services.people")
ADMIN = "root@example.com"
FRONT_END = "https://front.example/signed-in"


@dataclass
class Harness:
    """The service and functions to call it. Links are drawn from the database, as the mailer draws them."""

    app: FastAPI
    db: Database
    url: str
    keys: dict[str, str]
    client: httpx2.AsyncClient

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        issuer: str | None = "gateway",
        person: str | None = None,
        roles: Iterable[str] = (),
        headers: dict[str, Any] | None = None,
    ) -> httpx2.Response:
        """Send one internal request signed by `issuer` (unsigned when None) on behalf of `person`."""
        sent = dict(headers or {})
        if issuer is not None:
            signer = Signer(self.keys[f"{issuer.upper()}_SIGNING_KEY"], issuer)
            sent["Authorization"] = f"Bearer {signer.token('people', UUID(person) if person else None, roles)}"
        options: dict[str, Any] = {} if body is None else {"json": body}
        return await self.client.request(method, path, headers=sent, **options)

    async def claim(self, most: int = 50) -> list[Claimed]:
        return await sign_in.claim_requests(self.db, new_id(), LINK_LIFE, most)

    async def links(self) -> list[str]:
        """Draw a link for every due request, except those that get no mail."""
        drawn = [await sign_in.draw_link(self.db, request) for request in await self.claim()]
        return [link.token for link in drawn if link]

    async def link(self, email: str, name: str | None = None) -> str:
        """Request a link and draw it, as if its mail had arrived."""
        path, body = ("/sign-in", {"email": email}) if name is None else ("/people", {"email": email, "name": name})
        assert (await self.call("POST", path, body)).status_code == 202
        (token,) = await self.links()
        return token

    async def enter(self, email: str, name: str | None = "Ana", *, cookie: bool = False) -> dict[str, Any]:
        """Sign in by a link; return the answer of `POST /sessions`."""
        answer = await self.call("POST", "/sessions", {"token": await self.link(email, name), "cookie": cookie})
        assert answer.status_code == 201, answer.text
        session: dict[str, Any] = answer.json()
        return session

    async def ask(self, email: str, name: str | None = None, **front_end: str) -> str:
        """Request a mail, draw its link, as if it had arrived; return the name of the request."""
        body = {"email": email, **front_end} | ({} if name is None else {"name": name})
        answer = await self.call("POST", "/sign-in" if name is None else "/people", body)
        assert answer.status_code == 202, answer.text
        await self.links()
        return str(answer.json()["request"])

    @property
    def tokens(self) -> Tokens:
        return Tokens(self.keys["PEOPLE_SIGNING_KEY"])

    async def events(self) -> list[str]:
        """Return the event types in the outbox, in order, without their common part."""
        async with self.db.reader() as reader:
            rows = await reader.fetch("select type from outbox order by id")
        return [row["type"].removeprefix("dev.rapport.people.").removesuffix(".v1") for row in rows]

    async def value(self, sql: str, *args: object) -> Any:
        async with self.db.reader() as reader:
            return await reader.fetchval(sql, *args)

    async def change(self, sql: str, *args: object) -> None:
        async with self.db.transaction() as tx:
            await tx.execute(sql, *args)


@asynccontextmanager
async def opened(
    new_database: Callable[..., Awaitable[Any]], keys: dict[str, str], packages: Sequence[str] = PACKAGES
) -> AsyncIterator[Harness]:
    """Open a harness over a fresh database."""
    made = await new_database(*packages, acquire_timeout=30)  # a busy machine must not look like a full pool

    async def ready() -> dict[str, bool]:
        return {}

    signer, verifier = Signer(keys["PEOPLE_SIGNING_KEY"], "people"), Verifier(keys["VERIFICATION_KEYS"], "people")
    rules = SignInRules(Tokens(keys["PEOPLE_SIGNING_KEY"]), frozenset({ADMIN}), frozenset({FRONT_END}))
    app = create_api(made, signer, rules, verifier=verifier, ready=ready)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://people") as client:
        yield Harness(app, made, made.url, keys, client)
