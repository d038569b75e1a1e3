"""The mails of one person about one post keep the subject of the first of them, whatever becomes of the title."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from services.chassis.mail.sender import Sender
from services.chassis.mail.smtp import Smtp, SmtpSettings
from services.notify import delivery_queue
from services.notify.delivery import Delivery
from services.notify.delivery_queue import Draft
from services.notify.message import MessageBuilder
from services.notify.tokens import Tokens
from services.notify.upstreams import Upstreams
from tests.conftest import NewDatabase
from tests.integration.notify_harness import PACKAGES, FakeComment, NotifyHarness
from tests.integration.notify_upstreams import FakeUpstreams, address, serving_upstreams
from tests.smtp_sink import SmtpSink

chance = random.Random(20261127)


@dataclass
class ThreadHarness:
    """Mails through a real queue and mail server; each claim is a new process's."""

    service: NotifyHarness
    fake: FakeUpstreams
    upstreams: Upstreams
    delivery: Delivery
    sink: SmtpSink

    async def mails_about(self, *comments: FakeComment) -> list[tuple[str, str]]:
        """Post the comments, send what is due, and return the subject and the first line of each mail."""
        for comment in comments:
            post = self.fake.posts.get(str(comment.post_id))
            self.fake.add(comment)
            if post is not None:
                self.fake.posts[str(comment.post_id)] = post
            await self.service.handle(comment.posted)
        return await self.send()

    async def send(self) -> list[tuple[str, str]]:
        before = len(self.sink.messages)
        batch = await delivery_queue.claim(self.service.db, 100)
        answers = await self.upstreams.ask(batch)
        prepared = [await self.delivery.prepare(row, answers[row.person_id, row.comment_id]) for row in batch]
        for mail in prepared:
            assert mail is not None
            await self.delivery.send(mail)
        return [(mail.message["Subject"], mail.text.split("\n")[0]) for mail in self.sink.messages[before:]]


@pytest.fixture
async def harness(new_database: NewDatabase, keys: dict[str, str], smtp_sink: SmtpSink) -> AsyncIterator[ThreadHarness]:
    db = await new_database(*PACKAGES)
    tokens = Tokens(keys["NOTIFY_SECRET"], "rapport.test")
    messages = MessageBuilder(
        sender=Sender.parse("Rapport <n@rapport.test>"), public_url="https://rapport.test", tokens=tokens
    )
    smtp = Smtp(SmtpSettings(smtp_port=smtp_sink.port, smtp_dot_timeout_seconds=1))
    async with serving_upstreams(keys) as (fake, upstreams):
        delivery = Delivery(db, upstreams, messages, smtp, first_retry=timedelta(seconds=30), give_up=timedelta(days=4))
        yield ThreadHarness(NotifyHarness(db), fake, upstreams, delivery, smtp_sink)
        await smtp.close()


def comment(of: FakeComment | None = None) -> FakeComment:
    """Return a comment that concerns one person: the same one, under the same post, as another."""
    made = FakeComment()
    made = replace(made, post_author_id=made.author_id)
    if of is None:
        return made
    return replace(made, post_id=of.post_id, parent_author_id=of.parent_author_id)


async def test_the_first_subject_stays_after_an_edit_of_the_title(harness: ThreadHarness) -> None:
    first = comment()
    assert [subject for subject, _ in await harness.mails_about(first)] == ["Re: A post"]
    harness.fake.rename(first, "A better title")
    ((subject, line),) = await harness.mails_about(comment(first))
    assert subject == "Re: A post"
    assert "A better title" in line
    harness.fake.rename(first, "The best title")
    assert [subject for subject, _ in await harness.mails_about(comment(first), comment(first))] == ["Re: A post"] * 2


async def test_a_thread_that_begins_later_has_the_title_of_then(harness: ThreadHarness) -> None:
    first = comment()
    await harness.mails_about(first)
    harness.fake.rename(first, "A better title")
    later = replace(comment(), post_id=first.post_id)
    assert [subject for subject, _ in await harness.mails_about(later)] == ["Re: A better title"]
    harness.fake.rename(first, "The best title")
    await harness.mails_about(comment(first), comment(later))
    subjects = {mail.recipients[0]: mail.message["Subject"] for mail in harness.sink.messages}
    assert subjects == {
        address(first.parent_author_id): "Re: A post",
        address(later.parent_author_id): "Re: A better title",
    }


async def test_a_mail_that_is_written_anew_keeps_its_subject(harness: ThreadHarness) -> None:
    first = comment()
    harness.sink.once("rcpt", "450 4.2.1 later")
    assert await harness.mails_about(first) == []
    harness.fake.rename(first, "A better title")
    assert await harness.service.change("update notifications set due_at = now()") == 1
    assert [subject for subject, _ in await harness.send()] == ["Re: A post"]


async def test_titles_are_asked_for_only_when_a_post_has_changed(harness: ThreadHarness) -> None:
    first = comment()
    await harness.mails_about(first)
    await harness.mails_about(comment(first), comment(first))
    assert "/posts/titles/lookup" not in harness.fake.calls
    harness.fake.rename(first, "A better title")
    await harness.mails_about(comment(first), comment(first))
    assert harness.fake.calls.count("/posts/titles/lookup") == 1


async def test_the_title_of_a_deleted_revision_is_named_no_more(harness: ThreadHarness) -> None:
    first = comment()
    await harness.mails_about(first)
    harness.fake.rename(first, "A better title")
    harness.fake.titles.clear()
    assert [subject for subject, _ in await harness.mails_about(comment(first))] == ["Re: A better title"]


async def test_a_posts_that_says_no_revision_begins_no_thread(harness: ThreadHarness) -> None:
    first = comment()
    harness.fake.add(first)
    del harness.fake.posts[str(first.post_id)]["revision"]
    assert [subject for subject, _ in await harness.mails_about(first)] == ["Re: A post"]
    assert await harness.service.value("select count(*) from mail_threads") == 0


async def test_mails_wait_while_titles_cannot_be_asked_for(harness: ThreadHarness) -> None:
    first = comment()
    await harness.mails_about(first)
    harness.fake.rename(first, "A better title")
    harness.fake.away.add("/posts/titles/lookup")
    with pytest.raises(Exception, match="unavailable"):
        await harness.mails_about(comment(first))
    harness.fake.away.clear()
    await harness.service.change("update notifications set lease_until = null, lease_token = null")
    assert [subject for subject, _ in await harness.send()] == ["Re: A post"]


async def test_a_title_that_changes_while_the_first_mails_wait_names_one_thread(harness: ThreadHarness) -> None:
    first = comment()
    harness.fake.add(first)
    await harness.service.handle(first.posted, comment(first).posted)
    batch = await delivery_queue.claim(harness.service.db, 100)
    assert len(batch) == 2
    first_answers = await harness.upstreams.ask(batch)
    mail = await harness.delivery.prepare(batch[0], first_answers[batch[0].person_id, batch[0].comment_id])
    assert mail is not None
    harness.fake.rename(first, "A better title")
    harness.fake.comments |= {str(row.comment_id): harness.fake.comments[str(first.comment_id)] for row in batch}
    answers = await harness.upstreams.ask(batch)
    for row in batch:  # both were claimed before there was a thread
        assert await harness.delivery.prepare(row, answers[row.person_id, row.comment_id]) is None
    await harness.service.change("update notifications set lease_until = null, lease_token = null, frozen = null")
    assert [subject for subject, _ in await harness.send()] == ["Re: A post"] * 2


async def test_mails_of_the_same_threads_are_frozen_at_once(harness: ThreadHarness) -> None:
    threads = [comment() for _ in range(4)]
    person = threads[0].parent_author_id
    comments = [replace(comment(chance.choice(threads)), parent_author_id=person) for _ in range(60)]
    for one in comments:
        harness.fake.add(one)
    await harness.service.handle(*(one.posted for one in comments))
    batch = await delivery_queue.claim(harness.service.db, 100)
    answers = await harness.upstreams.ask(batch)
    drafts = [
        Draft(row, b"x", 1, "<x@x>", post.revision)
        for row in batch
        if (post := answers[row.person_id, row.comment_id].post) is not None
    ]
    for _ in range(5):
        await harness.service.change("delete from mail_threads")
        chance.shuffle(drafts)
        parts = [drafts[at::6] for at in range(6)]
        found = await asyncio.gather(*(delivery_queue.freeze(harness.service.db, part) for part in parts))
        assert [refusal for part in found for refusal in part] == [None] * 60
        assert await harness.service.value("select count(*) from mail_threads") == 4
