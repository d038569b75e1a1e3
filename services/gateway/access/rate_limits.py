"""Limit how often requests are served: the policies, and the headers that say where a client stands.

Headers: draft-ietf-httpapi-ratelimit-headers.
"""

from services.chassis.errors import Problem
from services.gateway.access.counters import Counters, Policy

READING = Policy("reading", 6_000, 60, strict=False)
POSTING = Policy("posting", 120, 60)
UPLOADING = Policy("uploading", 60, 3_600)  # pictures, each of which takes a second of a processor
EXPORTING = Policy("exporting", 3, 3_600)  # everything that is kept of a person
PREVIEWING = Policy("previewing", 30, 60)
# of two texts, which takes up to a tenth of a second; who is not signed in is counted by network
COMPARING = Policy("comparing", 120, 60, strict=False)
# of requests; how many mails an address gets is decided by people
SIGN_IN = Policy("sign-in", 120, 600)
SIGN_IN_PER_ADDRESS = Policy("sign-in-address", 10, 600)
# of using what a mail brought; apart, so that those who ask for mails do not stop those who have theirs
SESSION = Policy("session", 120, 600)
# Tokens of 256 random bits cannot be guessed; everybody signed in behind one address does this four times an hour.
REFRESH = Policy("refresh", 1_200, 60)
READ_FOR = "rapport.read-for"  # in the scope of a stranger's request that is made for a person, and counted as theirs


class RateLimits:
    """Rate limits by the counters; `counters` None means that they are off."""

    def __init__(self, counters: Counters | None) -> None:
        self._counters = counters

    async def check(self) -> None:
        """Ask Redis whether it is there; what is found is in the metrics."""
        if self._counters is not None:
            await self._counters.check()

    async def spend(self, headers: dict[str, str], *uses: tuple[Policy, str]) -> None:
        """Count a request under each (policy, identity) and write where each stands into `headers`.

        Raises:
            Problem: `too-many-requests`.
        """
        if self._counters is None:
            return
        standings = []
        for policy, identity in uses:
            standing = await self._counters.count(policy, identity)
            if standing is not None:
                standings.append(standing)
        if not standings:
            return
        for one in standings:
            policy = one.policy
            _append(headers, "RateLimit-Policy", f'"{policy.name}";q={policy.quota};w={policy.window}')
            _append(headers, "RateLimit", f'"{policy.name}";r={one.remaining};t={one.reset}')
        refused = [one.reset for one in standings if not one.allowed]
        if refused:
            raise Problem(
                "too-many-requests",
                f"Come back in {max(refused)} seconds.",
                headers={"Retry-After": str(max(refused))},
            )


def _append(headers: dict[str, str], name: str, member: str) -> None:
    headers[name] = f"{headers[name]}, {member}" if name in headers else member
