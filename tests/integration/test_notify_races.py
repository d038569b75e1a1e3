"""Facts, removals, unsubscribing and two mailers at once: what is true at the end is what was mailed."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from services.chassis.mail.sender import Sender
from services.chassis.mail.smtp import Smtp, SmtpSettings
from services.contracts.comments import CommentFact
from services.notify import choices
from services.notify.delivery import Delivery
from services.notify.mailer import Mailer
from services.notify.message import MessageBuilder
from services.notify.tokens import Tokens
from tests.conftest import NewDatabase
from tests.integration.chassis_harness import running
from tests.integration.notify_harness import PACKAGES, FakeComment, NotifyHarness
from tests.integration.notify_upstreams import FakeUpstreams, address, serving_upstreams
from tests.smtp_sink import CLOSE, SmtpSink
from tests.waiting import eventually

COMMENTS = 40


@pytest.fixture
async def service(new_database: NewDatabase) -> NotifyHarness:
    return NotifyHarness(await new_database(*PACKAGES, size=20))


@pytest.fixture
async def mailers_at_work(
    service: NotifyHarness, keys: dict[str, str], smtp_sink: SmtpSink
) -> AsyncIterator[tuple[FakeUpstreams, list[Mailer]]]:
    messages = MessageBuilder(
        sender=Sender.parse("Rapport <n@rapport.test>"),
        public_url="https://rapport.test",
        tokens=Tokens(keys["NOTIFY_SECRET"], "rapport.test"),
    )
    smtp = Smtp(SmtpSettings(smtp_port=smtp_sink.port))
    async with serving_upstreams(keys) as (fake, upstreams):
        delivery = Delivery(service.db, upstreams, messages, smtp, first_retry=timedelta(0), give_up=timedelta(days=4))
        yield fake, [Mailer(service.db, upstreams, delivery, connections=3, poll_seconds=0.01) for _ in range(2)]
        await smtp.close()


async def settled(service: NotifyHarness) -> None:
    await eventually(
        lambda: service.value("select not exists (select from notifications where state = 'waiting')"), timeout=30
    )


async def test_the_same_fact_many_times_at_once_is_one_mail(
    service: NotifyHarness, mailers_at_work: tuple[FakeUpstreams, list[Mailer]], smtp_sink: SmtpSink
) -> None:
    fake, mailers = mailers_at_work
    comment = FakeComment()
    fake.add(comment)
    async with running(*(mailer.run for mailer in mailers)):
        await asyncio.gather(*(service.handle(comment.posted) for _ in range(10)))
        await smtp_sink.wait_for(2)
        await settled(service)
    assert sorted(mail.recipients[0] for mail in smtp_sink.messages) == sorted(
        address(person) for person in (comment.parent_author_id, comment.post_author_id)
    )


@pytest.mark.parametrize("seed", range(3))
async def test_concurrent_facts_lose_duplicate_and_falsify_no_mail(
    service: NotifyHarness, mailers_at_work: tuple[FakeUpstreams, list[Mailer]], smtp_sink: SmtpSink, seed: int
) -> None:
    """Every comment ends visible or not; its facts come in any order, from several tasks, while mails go out."""
    fake, mailers = mailers_at_work
    chance = random.Random(seed)
    smtp_sink.once("dot", *chance.choices(["250 ok", CLOSE, "451 later"], [6, 1, 1], k=30))
    ended: dict[str, FakeComment] = {}

    async def tell(comment: FakeComment, facts: list[CommentFact]) -> None:
        for fact in facts:
            await service.handle(fact)
            await asyncio.sleep(chance.random() * 0.02)

    async def live(start: str, states: list[str]) -> None:
        comment = FakeComment(state=start)
        comment = FakeComment(**{**vars(comment), "post_author_id": comment.author_id})
        fake.add(comment)
        facts = [comment.posted]
        for state in states:
            comment = comment.changed_to(state)
            fake.comments[str(comment.comment_id)].update(state=state, version=comment.version)
            facts.append({"visible": comment.approved, "held": comment.held, "removed": comment.rejected}[state])
        ended[address(comment.parent_author_id)] = comment
        chance.shuffle(facts)
        await asyncio.gather(tell(comment, facts[::2]), tell(comment, facts[1::2]))

    lives = [
        *(("visible", []), ("visible", ["held", "visible"]), ("held", ["visible"])),
        *(("visible", ["removed"]), ("held", ["removed"]), ("visible", ["removed", "visible"])),
    ]
    async with running(*(mailer.run for mailer in mailers)):
        await asyncio.gather(*(live(*chance.choice(lives)) for _ in range(COMMENTS)))
        await settled(service)
    copies = Counter(mail.recipients[0] for mail in smtp_sink.messages)
    for to, comment in ended.items():
        state, why = await service.ending(comment.parent_author_id, comment.comment_id) or ("", None)
        if comment.state == "visible":
            assert (state, why, copies[to]) == ("sent", None, 1), comment
        else:
            assert copies[to] <= 1
            assert (state == "sent") == (copies[to] == 1), comment
            assert state == "sent" or why in ("comment_removed", "comment_held")


async def test_no_mail_begins_after_an_unsubscribe_was_answered(
    service: NotifyHarness, mailers_at_work: tuple[FakeUpstreams, list[Mailer]], smtp_sink: SmtpSink
) -> None:
    fake, mailers = mailers_at_work
    me = FakeComment().author_id
    for _ in range(60):
        comment = FakeComment(parent_author_id=me)
        fake.add(FakeComment(**{**vars(comment), "post_author_id": comment.author_id}))
        await service.handle(FakeComment(**{**vars(comment), "post_author_id": comment.author_id}).posted)
    async with running(*(mailer.run for mailer in mailers)):
        await smtp_sink.wait_for(3)
        await choices.choose_mail(service.db, me, "none")
        # Mails whose last look was made before may still end: no more than there are dialogues at once.
        arrived = len(smtp_sink.messages)
        await settled(service)
    assert len(smtp_sink.messages) - arrived <= 6
    assert len(smtp_sink.messages) < 60
    assert await service.value("select count(*) from notifications where why = 'unsubscribed'") == 60 - len(
        smtp_sink.messages
    )
