"""Facts, removals, unsubscribing and two mailers at once: what is true at the end is what was mailed."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from services.chassis.mail.smtp import Smtp, SmtpSettings
from services.contracts.comments import CommentFact
from services.notify import commands
from services.notify.delivery import Delivery
from services.notify.mailer import Mailer
from services.notify.message import MessageBuilder
from services.notify.tokens import Tokens
from tests.conftest import NewDatabase
from tests.integration.chassis_harness import running
from tests.integration.notify_harness import PACKAGES, House, Said
from tests.integration.notify_upstreams import FakeOwners, address, owning
from tests.smtp_sink import CLOSE, SmtpSink
from tests.waiting import eventually

COMMENTS = 40


@pytest.fixture
async def house(new_database: NewDatabase) -> House:
    return House(await new_database(*PACKAGES, size=20))


@pytest.fixture
async def scene(
    house: House, keys: dict[str, str], smtp_sink: SmtpSink
) -> AsyncIterator[tuple[FakeOwners, list[Mailer]]]:
    letters = MessageBuilder(
        mail_from="Rapport <n@rapport.test>",
        public_url="https://rapport.test",
        tokens=Tokens(keys["NOTIFY_SECRET"], "rapport.test"),
    )
    smtp = Smtp(SmtpSettings(smtp_port=smtp_sink.port))
    async with owning(keys) as (known, owners):
        courier = Delivery(house.database, owners, letters, smtp, first_retry=timedelta(0), give_up=timedelta(days=4))
        yield known, [Mailer(house.database, owners, courier, connections=3, poll_seconds=0.01) for _ in range(2)]
        await smtp.close()


async def settled(house: House) -> None:
    await eventually(
        lambda: house.value("select not exists (select from notifications where state = 'waiting')"), timeout=30
    )


async def test_the_same_fact_many_times_at_once_is_one_mail(
    house: House, scene: tuple[FakeOwners, list[Mailer]], smtp_sink: SmtpSink
) -> None:
    known, mailers = scene
    said = Said()
    known.know(said)
    async with running(*(mailer.run for mailer in mailers)):
        await asyncio.gather(*(house.hear(said.posted) for _ in range(10)))
        await smtp_sink.wait_for(2)
        await settled(house)
    assert sorted(mail.recipients[0] for mail in smtp_sink.messages) == sorted(
        address(person) for person in (said.parent_author_id, said.post_author_id)
    )


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_at_once_nothing_is_lost_twice_or_wrong(
    house: House, scene: tuple[FakeOwners, list[Mailer]], smtp_sink: SmtpSink, seed: int
) -> None:
    """Every comment ends visible or not; its facts come in any order, from several tasks, while mails go out."""
    known, mailers = scene
    chance = random.Random(seed)
    smtp_sink.once("dot", *chance.choices(["250 ok", CLOSE, "451 later"], [6, 1, 1], k=30))
    ended: dict[str, Said] = {}

    async def tell(said: Said, facts: list[CommentFact]) -> None:
        for fact in facts:
            await house.hear(fact)
            await asyncio.sleep(chance.random() * 0.02)

    async def live(start: str, states: list[str]) -> None:
        said = Said(state=start)
        said = Said(**{**vars(said), "post_author_id": said.author_id})
        known.know(said)
        facts = [said.posted]
        for state in states:
            said = said.then(state)
            known.comments[str(said.comment_id)].update(state=state, version=said.version)
            facts.append({"visible": said.approved, "held": said.held, "removed": said.rejected}[state])
        ended[address(said.parent_author_id)] = said
        chance.shuffle(facts)
        await asyncio.gather(tell(said, facts[::2]), tell(said, facts[1::2]))

    lives = [
        *(("visible", []), ("visible", ["held", "visible"]), ("held", ["visible"])),
        *(("visible", ["removed"]), ("held", ["removed"]), ("visible", ["removed", "visible"])),
    ]
    async with running(*(mailer.run for mailer in mailers)):
        await asyncio.gather(*(live(*chance.choice(lives)) for _ in range(COMMENTS)))
        await settled(house)
    copies = Counter(mail.recipients[0] for mail in smtp_sink.messages)
    for to, said in ended.items():
        state, why = await house.ending(said.parent_author_id, said.comment_id) or ("", None)
        if said.state == "visible":
            assert (state, why, copies[to]) == ("sent", None, 1), said
        else:
            assert copies[to] <= 1
            assert (state == "sent") == (copies[to] == 1), said
            assert state == "sent" or why in ("comment_removed", "comment_held")


async def test_nothing_goes_out_after_an_unsubscribe_was_answered(
    house: House, scene: tuple[FakeOwners, list[Mailer]], smtp_sink: SmtpSink
) -> None:
    known, mailers = scene
    me = Said().author_id
    for _ in range(60):
        said = Said(parent_author_id=me)
        known.know(Said(**{**vars(said), "post_author_id": said.author_id}))
        await house.hear(Said(**{**vars(said), "post_author_id": said.author_id}).posted)
    async with running(*(mailer.run for mailer in mailers)):
        await smtp_sink.wait_for(3)
        await commands.choose_mail(house.database, me, False)
        # Mails whose last look was made before may still end: no more than there are dialogues at once.
        arrived = len(smtp_sink.messages)
        await settled(house)
    assert len(smtp_sink.messages) - arrived <= 6
    assert len(smtp_sink.messages) < 60
    assert await house.value("select count(*) from notifications where why = 'unsubscribed'") == 60 - len(
        smtp_sink.messages
    )
