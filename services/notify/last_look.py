"""The check that is made while an SMTP dialogue lasts."""

import time

import asyncpg

from services.chassis.database.pool import Database
from services.chassis.errors import Problem
from services.notify import delivery_queue
from services.notify.delivery_queue import Standing
from services.notify.domain import Facts, objection
from services.notify.message import PreparedMail
from services.notify.upstreams import Upstreams

FRESH_SECONDS = 2.0


def is_fresh(facts: Facts) -> bool:
    """Whether what the owners said may still decide about a mail."""
    return time.monotonic() - facts.asked_at <= FRESH_SECONDS


class LastLook:
    """What is looked at once more while the SMTP dialogue lasts, before anything is given away.

    The owners are asked again when their answers are older than `FRESH_SECONDS`, so that no message begins more
    than 5 s after its subject was removed. Notify's own part, the lease and the choice to hear nothing, is read
    every time before the final dot.
    """

    def __init__(self, database: Database, owners: Upstreams, letter: PreparedMail) -> None:
        self._database = database
        self._owners = owners
        self._claimed = letter.claimed
        self._looked_at = letter.frozen_at
        self.address_version = letter.address_version
        self.facts = letter.facts
        self.why: str | None = None
        self.standing: Standing = "ready"
        self.moved = False
        self.away = False

    async def before_data(self) -> bool:
        """Look only if it is long ago: the bytes were frozen after a look of their own."""
        just_looked = time.monotonic() - self._looked_at < FRESH_SECONDS / 2
        return (just_looked and is_fresh(self.facts)) or await self.before_dot()

    async def before_dot(self) -> bool:
        """True when the mail may go now."""
        try:
            if not is_fresh(self.facts):
                answers = await self._owners.facts([self._claimed])
                self.facts = answers[self._claimed.person_id, self._claimed.comment_id]
                self.why = objection(self.facts)
                contact = self.facts.contact
                self.moved = contact is not None and contact.address_version != self.address_version
            async with self._database.reader() as reader:
                self.standing = await delivery_queue.standing(reader, self._claimed, self.address_version)
        except (Problem, asyncpg.PostgresError):
            self.away = True
        return self.why is None and self.standing == "ready" and not self.moved and not self.away
