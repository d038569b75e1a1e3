"""People who write and read by turns, so that nobody exceeds the rate limits."""

import math
from collections.abc import Iterable
from itertools import cycle
from uuid import UUID, uuid4

from services.chassis.identity import Signer
from tests.client import Person

POSTING_QUOTA = 120  # writes a minute for one person, by default
TOKEN_SECONDS = 900  # as people grants


def crowd_size(writes: int, quota: int = POSTING_QUOTA) -> int:
    """How many people must take turns so that `writes` within one window use at most half of anybody's quota."""
    return math.ceil(writes / (quota // 2))


def access_token(signer: Signer, person_id: str, *roles: str) -> str:
    """Make an access token as people makes it for a session."""
    return signer.token("rapport", UUID(person_id), roles, TOKEN_SECONDS, uuid4())


class Crowd:
    """People who take turns.

    Args:
        signer: signs with the key of people.
    """

    def __init__(self, signer: Signer, person_ids: Iterable[str]) -> None:
        self._signer = signer
        self._people = [Person(person_id, "", "", "", "") for person_id in person_ids]
        self._turns = cycle(self._people)
        self.renew()

    def renew(self) -> None:
        """Give everybody a fresh access token; one lives for 15 minutes."""
        for person in self._people:
            person.access_token = access_token(self._signer, person.id, "reader")

    def promote(self, people: Iterable[Person]) -> None:
        """Give these the rights of moderators, until everybody gets a fresh token."""
        for person in people:
            person.access_token = access_token(self._signer, person.id, "moderator", "reader")

    def next(self) -> Person:
        """Return the one whose turn it is."""
        return next(self._turns)

    def take(self, count: int) -> list[Person]:
        """Return the next `count` people."""
        return [self.next() for _ in range(count)]
