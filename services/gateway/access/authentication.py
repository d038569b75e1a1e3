"""Who is looking: a Bearer token, the cookie of our own pages, or nobody."""

import base64
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from starlette.requests import Request

from services.chassis.errors import Problem, unavailable
from services.chassis.identity import Caller, Verifier
from services.gateway.access.revocations import Revocations

Json = dict[str, Any]

COOKIE_SECONDS = 15.0
REMEMBERED = 10_000
LONGEST_COOKIE = 512
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CHALLENGE = {"WWW-Authenticate": "Bearer"}

NOBODY = Caller("gateway")


@dataclass(frozen=True)
class Viewer:
    """The one a request speaks for.

    Attributes:
        caller: the person and roles that go on to the services; nobody when not signed in.
        session_id: the session, for signing out.
        private: whether the request carried a token or our cookie, so that its answer is for one person.
        by_cookie: whether the cookie signed them in.
        sure: False when there were credentials and nobody could tell in time whose they are.
    """

    caller: Caller = NOBODY
    session_id: str | None = None
    private: bool = False
    by_cookie: bool = False
    sure: bool = True

    @property
    def person_id(self) -> UUID | None:
        return self.caller.person_id


Check = Callable[[str, float], Awaitable[Json | None]]


class Authentication:
    """Finds out who is looking.

    Args:
        verifier: of access tokens: audience `rapport`, made by people.
        check: asks people about an opaque session id (and deadline): `{sid, person}`, or None for a dead one.
        origin: the only `Origin` from which the cookie may change something.
    """

    def __init__(
        self,
        verifier: Verifier,
        changes: Revocations,
        check: Check,
        *,
        cookie_name: str,
        origin: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._verifier = verifier
        self._changes = changes
        self._check = check
        self._cookie_name = cookie_name
        self._origin = origin
        self._clock = clock
        self._sessions: dict[str, tuple[float, Json]] = {}

    async def of(self, request: Request, deadline: float) -> Viewer:
        """Who is looking; `sure` is False when that could not be found out.

        Raises:
            Problem: `invalid-token` for a token that is malformed, expired or revoked.
        """
        header = request.headers.get("authorization")
        if header is not None:
            return self._by_token(header)
        cookie = self.cookie(request)
        if cookie is not None:
            return await self._by_cookie(cookie, deadline)
        return Viewer()

    async def person(self, request: Request, deadline: float) -> Viewer:
        """Somebody who is signed in.

        Raises:
            Problem: `invalid-token`; `sign-in-required`; `cross-site` for a write with the cookie from elsewhere;
                `unavailable` when it could not be found out.
        """
        viewer = await self.of(request, deadline)
        if not viewer.sure:
            raise unavailable("Who you are could not be checked in time.")
        if viewer.person_id is None:
            raise Problem("sign-in-required", headers=CHALLENGE)
        if viewer.by_cookie and request.method not in SAFE_METHODS:
            self.same_site(request)
        return viewer

    def cookie(self, request: Request) -> str | None:
        """The opaque session id of our own pages, if the request has one."""
        return request.cookies.get(self._cookie_name) or None

    def same_site(self, request: Request) -> None:
        """
        Raises:
            Problem: `cross-site` unless the request comes from our own pages.
        """
        if request.headers.get("origin") != self._origin:
            raise Problem("cross-site")

    def forget(self, cookie: str) -> None:
        """The session of this cookie ended or was renamed."""
        self._sessions.pop(cookie, None)

    def _by_token(self, header: str) -> Viewer:
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            raise Problem("invalid-token", headers=CHALLENGE)
        try:
            caller = self._verifier.verify(token.strip())
        except Problem:
            raise Problem("invalid-token", headers=CHALLENGE) from None
        person_id = caller.person_id
        if person_id is None or self._changes.has_ended(caller.session_id):
            raise Problem("invalid-token", headers=CHALLENGE)
        roles = caller.roles
        if not self._changes.current and not self._changes.trusts(issued_at(token)):
            return Viewer(private=True, sure=False)
        if self._changes.has_new_roles(person_id):
            roles = self._changes.roles(person_id, roles, issued_at(token))
        return Viewer(
            Caller("gateway", person_id, roles),
            session_id=str(caller.session_id) if caller.session_id else None,
            private=True,
        )

    async def _by_cookie(self, cookie: str, deadline: float) -> Viewer:
        known = self._sessions.get(cookie)
        if known is not None and known[0] > self._clock():
            session: Json | None = known[1]
        else:
            self._sessions.pop(cookie, None)
            asked = self._clock()
            try:
                session = await self._check(cookie, deadline) if len(cookie) <= LONGEST_COOKIE else None
            except Problem:
                return Viewer(private=True, sure=False)
            if session is not None:
                self._remember(cookie, asked + COOKIE_SECONDS, session)
        if session is None or self._changes.has_ended(UUID(session["sid"])):
            return Viewer(private=True)
        person = session["person"]
        return Viewer(
            Caller("gateway", UUID(person["id"]), frozenset(person["roles"])),
            session_id=session["sid"],
            private=True,
            by_cookie=True,
        )

    def _remember(self, cookie: str, until: float, session: Json) -> None:
        while len(self._sessions) >= REMEMBERED:
            del self._sessions[next(iter(self._sessions))]
        self._sessions[cookie] = (until, session)


def issued_at(token: str) -> float:
    """When a verified token was made, in seconds since 1970."""
    payload = token.strip().split(".")[1]
    return float(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["iat"])
