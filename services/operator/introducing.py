"""The first author: the role, or the mail that makes the address a person's; and what the gateway says of the site."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Literal
from urllib.parse import urlsplit

import orjson

from services.chassis.client.connection_pool import ConnectionPool, Origin
from services.chassis.errors import Problem
from services.operator.calls import Services, connected
from services.operator.settings import OperatorSettings

ROLE = "author"
PATIENCE_SECONDS = 10.0
LOOK_SECONDS = 2.0

# `has`: an author before; `mailed`: nobody has confirmed the address, and a sign-in link is on its way to it
Introduced = Literal["granted", "has", "mailed", "unknown", "away"]


async def introduce(
    settings: OperatorSettings,
    email: str,
    name: str | None,
    *,
    dry_run: bool = False,
    wait: float = 0.0,
    say: Callable[[str], object] = lambda _: None,
) -> Introduced:
    """Grant the author's role to the owner of an address, or have people write to it if nobody has confirmed it.

    Args:
        name: under which they are registered then; without one nobody is written to.
        wait: for how many seconds to wait until the link in that mail is used, to grant the role at once.
        say: is told when the waiting begins.

    Raises:
        Problem: people refused the address, the name or the role.
        Failed: people does not accept the operator's key, or became unavailable.
    """
    if not settings.operator_signing_key or not await _is_there(settings.people_url):
        return "away"
    async with connected(settings.model_copy(update={"patience_seconds": PATIENCE_SECONDS})) as services:
        found = await _grant(services, email, dry_run)
        if found is not None or name is None:
            return found or "unknown"
        if dry_run:
            return "mailed"
        await services.post("people", "/people", {"name": name, "email": email})
        if wait:
            say(f"{email} gets a mail. Press the link in it: the role is granted then. Ctrl-C ends the waiting.")
        deadline = time.monotonic() + wait
        while found is None and time.monotonic() < deadline:
            await asyncio.sleep(min(1.0, wait))
            found = await _grant(services, email, dry_run)
        return found or "mailed"


async def _grant(services: Services, email: str, dry_run: bool) -> Literal["granted", "has"] | None:
    """Grant the role; return None when nobody has confirmed the address."""
    body: dict[str, Any] = {"email": email, "role": ROLE, "dry_run": dry_run}
    try:
        change = await services.post("people", "/grants", body)
    except Problem as problem:
        if problem.kind == "not-found":
            return None
        raise
    return "has" if change["before"] == change["roles"] else "granted"


async def _is_there(url: str) -> bool:
    return await _get(url, "/livez") is not None


async def served_site(public_url: str) -> dict[str, Any] | None:
    """Return what the gateway says of the site now; None if it does not answer."""
    answer = await _get(public_url, "/v1/site")
    try:
        found = None if answer is None else orjson.loads(answer)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


async def _get(url: str, path: str) -> bytes | None:
    """Return what is at an address, or None, without patience: whether somebody is there is the question."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    origin = Origin(parts.hostname or "", parts.port or (443 if secure else 80), secure)
    try:
        async with asyncio.timeout(LOOK_SECONDS), ConnectionPool() as connections:
            answer = await connections.request(origin, "GET", path, {}, None)
    except (OSError, TimeoutError):
        return None
    return answer.data if answer.status == 200 else None
