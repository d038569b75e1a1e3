"""Find out who sends a request: a Bearer token, the cookie of our own pages, or nobody."""

import base64
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cachetools import TTLCache
from starlette.requests import Request

from services.chassis.errors import Problem, unavailable
from services.chassis.http.origins import Origin
from services.chassis.identity import Caller, Verifier
from services.gateway.access.revocations import Revocations

Json = dict[str, Any]

COOKIE_SECONDS = 15.0  # how long a session counts before people is asked again
CONFIRMED_SECONDS = 3_600.0  # how long a cookie is remembered as one that people confirmed
REFUSED_SECONDS = 60.0  # how long a cookie is remembered as one that people refused
REMEMBERED = 10_000
LONGEST_COOKIE = 512
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CHALLENGE = {"WWW-Authenticate": "Bearer"}

NOBODY = Caller("gateway")


@dataclass(frozen=True)
class Viewer:
    """The person a request speaks for, if any.

    Attributes:
        caller: the person and roles that go on to the services; nobody when not signed in.
        session_id: the session, for signing out.
        private: whether the request carried a token or our cookie, so that its answer is for one person.
        by_cookie: whether the cookie signed them in.
        sure: False when there were credentials that could not be checked in time.
    """

    caller: Caller = NOBODY
    session_id: str | None = None
    private: bool = False
    by_cookie: bool = False
    sure: bool = True

    @property
    def person_id(self) -> UUID | None:
        return self.caller.person_id


ANONYMOUS = Viewer()
REFUSED = Viewer(private=True)
UNCHECKED = Viewer(private=True, sure=False)

CheckSession = Callable[[str, float], Awaitable[Json | None]]


class Authentication:
    """Tells who sends a request.

    Args:
        verifier: of access tokens: audience `rapport`, made by people.
        check_session: asks people about an opaque session id (and deadline): `{sid, person}`, or None for a dead one.
        origin: the only origin from whose pages the cookie may change something.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        verifier: Verifier,
        revocations: Revocations,
        check_session: CheckSession,
        *,
        cookie_name: str,
        origin: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._verifier = verifier
        self._revocations = revocations
        self._check_session = check_session
        self._cookie_name = cookie_name
        self._origin = Origin.parse(origin)
        self._clock = clock
        self._confirmed: TTLCache[str, tuple[float, Json]] = TTLCache(REMEMBERED, CONFIRMED_SECONDS, timer=clock)
        # Apart from the confirmed ones, which random cookies would otherwise drive out. A refused id never becomes a
        # session later: ids are random.
        self._refused: TTLCache[str, None] = TTLCache(REMEMBERED, REFUSED_SECONDS, timer=clock)

    def recall(self, request: Request) -> Viewer | None:
        """Return who sends the request, or None when only people can tell whose its cookie is; see `check`.

        Raises:
            Problem: `invalid-token` for a token that is malformed, expired or revoked.
        """
        header = request.headers.get("authorization")
        if header is not None:
            return self._by_token(header)
        cookie = self.cookie(request)
        if cookie is None:
            return ANONYMOUS
        confirmed = self._confirmed_session(cookie)
        if confirmed is not None and self._clock() < confirmed[0] + COOKIE_SECONDS:
            return self._by_session(confirmed[1])
        return REFUSED if cookie in self._refused or len(cookie) > LONGEST_COOKIE else None

    def recall_reader(self, header: str) -> Viewer | None:
        """Return who sends a request with this `Authorization`, if the token was verified before; see `recall`."""
        scheme, _, token = header.partition(" ")
        caller = self._verifier.recall(token.strip()) if scheme.lower() == "bearer" else None
        if caller is None:
            return None
        try:
            viewer = self._viewer_of(caller, token)
        except Problem:
            return None
        return viewer if viewer.sure else None

    def was_confirmed(self, request: Request) -> bool:
        """Return whether people confirmed the cookie of this request within the last hour."""
        return self._confirmed_session(self.cookie(request) or "") is not None

    async def check(self, request: Request, deadline: float) -> Viewer:
        """Return who sends the request by asking people about its cookie; `sure` is False when they do not answer."""
        cookie = self.cookie(request) or ""
        asked = self._clock()
        try:
            session = await self._check_session(cookie, deadline)
        except Problem:
            return UNCHECKED
        if session is None:
            self._confirmed.pop(cookie, None)
            self._refused[cookie] = None
            return REFUSED
        self._confirmed[cookie] = asked, session
        return self._by_session(session)

    def require_person(self, request: Request, viewer: Viewer) -> None:
        """Refuse a request that no signed-in person sends.

        Raises:
            Problem: `sign-in-required`; `cross-site` for a write with the cookie from elsewhere; `unavailable` when
                the credentials could not be checked.
        """
        if not viewer.sure:
            raise unavailable("Who you are could not be checked in time.")
        if viewer.person_id is None:
            raise Problem("sign-in-required", headers=CHALLENGE)
        if viewer.by_cookie and request.method not in SAFE_METHODS:
            self.require_same_site(request)

    def require_same_site(self, request: Request) -> None:
        """Refuse a request that does not come from our own pages.

        Only `Sec-Fetch-Site: same-origin` is believed: proxies and privacy settings turn `Origin` into `null`, and a
        neighbour under the same domain is `same-site`. `Host` shows that our own origin is meant, and not a name that
        another site gave to this address.

        Raises:
            Problem: `cross-site`.
        """
        headers = request.headers
        if "host" in headers and not self._is_ours(f"{self._origin.scheme}://{headers['host']}"):
            raise Problem("cross-site", f"Forms are taken at {self._origin} only, and this page has another address.")
        site = headers.get("sec-fetch-site", "none")
        if site != "same-origin" and not (site == "none" and self._is_ours(headers.get("origin", ""))):
            raise Problem("cross-site")

    def _is_ours(self, origin: str) -> bool:
        try:
            return Origin.parse(origin) == self._origin
        except ValueError:
            return False

    def cookie(self, request: Request) -> str | None:
        """Return the opaque session id of our own pages, if the request has one."""
        return request.cookies.get(self._cookie_name) or None

    def forget(self, cookie: str) -> None:
        """Forget the session of a cookie, because it ended or its person was renamed."""
        self._confirmed.pop(cookie, None)

    def _confirmed_session(self, cookie: str) -> tuple[float, Json] | None:
        try:
            return self._confirmed[cookie]
        except KeyError:
            return None

    def _by_token(self, header: str) -> Viewer:
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            raise Problem("invalid-token", headers=CHALLENGE)
        try:
            caller = self._verifier.verify(token.strip())
        except Problem:
            raise Problem("invalid-token", headers=CHALLENGE) from None
        return self._viewer_of(caller, token)

    def _viewer_of(self, caller: Caller, token: str) -> Viewer:
        person_id = caller.person_id
        if person_id is None or self._revocations.has_ended(caller.session_id, person_id):
            raise Problem("invalid-token", headers=CHALLENGE)
        roles = caller.roles
        if not self._revocations.current and not self._revocations.trusts(issued_at(token)):
            return UNCHECKED
        if self._revocations.has_new_roles(person_id):
            roles = self._revocations.roles(person_id, roles, issued_at(token))
        return Viewer(
            Caller("gateway", person_id, roles),
            session_id=str(caller.session_id) if caller.session_id else None,
            private=True,
        )

    def _by_session(self, session: Json) -> Viewer:
        person = session["person"]
        person_id = UUID(person["id"])
        if self._revocations.has_ended(UUID(session["sid"]), person_id):
            return REFUSED
        return Viewer(
            Caller("gateway", person_id, frozenset(person["roles"])),
            session_id=session["sid"],
            private=True,
            by_cookie=True,
        )


def issued_at(token: str) -> float:
    """Return when a verified token was made, in seconds since 1970."""
    payload = token.strip().split(".")[1]
    return float(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["iat"])
