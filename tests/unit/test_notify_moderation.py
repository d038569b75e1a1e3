"""When a moderator is told of what waits, and what that mail says: who wrote where, and no word of the texts."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from uuid import UUID, uuid4

import pytest

from services.contracts.notify import ModerationMail
from services.notify.moderation import LastMail, next_mail_at
from services.notify.objections import Answers, Contact, NotWanted, PostNow, Waiting, WaitingComment, addressee
from tests.unit.test_notify_message import CLAIMED, MESSAGES, TOKENS, alive, part

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
AT_ONCE = datetime.min.replace(tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.mark.parametrize(
    ("choice", "last", "restored_at", "expected"),
    [
        ("hourly", None, None, AT_ONCE),
        ("daily", None, None, AT_ONCE),
        ("off", None, None, None),
        ("off", LastMail(NOON), None, None),
        ("hourly", LastMail(None), None, None),  # one is under way
        ("hourly", LastMail(NOON), None, NOON + HOUR),
        ("daily", LastMail(NOON), None, NOON + DAY),
        ("hourly", LastMail(NOON, "refused_by_server"), None, NOON + HOUR),
        ("hourly", LastMail(NOON, "overtaken"), None, NOON + HOUR),  # it may have arrived
        ("daily", LastMail(NOON, "nothing_waits"), None, NOON + timedelta(minutes=1)),  # it told nothing
        ("hourly", LastMail(NOON, "nothing_waits", False), None, NOON + HOUR),  # and nothing is new
        ("hourly", None, NOON, NOON + HOUR),  # what was sent between backup and restore is not known
        ("daily", LastMail(NOON - HOUR), NOON, NOON + DAY),
        ("hourly", LastMail(NOON + HOUR), NOON, NOON + 2 * HOUR),
    ],
)
def test_the_next_mail_comes_as_seldom_as_its_person_chose(
    choice: ModerationMail, last: LastMail | None, restored_at: datetime | None, expected: datetime | None
) -> None:
    assert next_mail_at(choice, last, restored_at) == expected


POST = PostNow("published", "On <beans> & Re: peas", "on-beans")
WAITS = [WaitingComment(uuid4(), name, POST, NOON) for name in ("Ben", "<b>Eve</b>\r\nBcc: x@example.com", "\u202eX")]
DIGEST = replace(CLAIMED, moderation=True, author_id=None, reasons=("waits_for_approval",))
ANSWERS = Answers(0, Contact("mo@example.com", True, 1, True), None, None, None, waiting=Waiting(tuple(WAITS), 3))


def written(waiting: Waiting) -> EmailMessage:
    content = MESSAGES.build(DIGEST, replace(ANSWERS, waiting=waiting), "mo@example.com")
    return message_from_bytes(content, policy=policy.default)


def test_it_says_who_wrote_where_and_leads_there() -> None:
    mail = written(Waiting(tuple(WAITS), 3))
    token = TOKENS.stop_moderation(DIGEST.person_id)
    assert sorted(mail.keys()) == sorted(
        [
            *("From", "To", "Subject", "Message-ID", "Date", "List-Id", "List-Unsubscribe", "List-Unsubscribe-Post"),
            *("Auto-Submitted", "X-Auto-Response-Suppress", "Content-Type", "MIME-Version"),
        ]
    )
    assert mail["Subject"] == "3 comments wait for approval"
    assert mail["From"] == "Rapport <notifications@rapport.test>"
    assert mail["List-Id"] == '"Rapport" <moderation.rapport.test>'
    assert mail["List-Unsubscribe"] == f"<https://rapport.test/unsubscribe/{token}>"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    text, page = part(mail, "plain"), part(mail, "html")
    links = [f"https://rapport.test/posts/on-beans?comment={one.comment_id}#c-{one.comment_id}" for one in WAITS]
    ends = [f"https://rapport.test/{path}" for path in ("moderate", f"mail/{token}", f"unsubscribe/{token}")]
    assert alive(page) == [*links, *ends]
    assert all(link in text for link in [*links, *ends])
    for said in ("Ben", "On <beans> & Re: peas", "2026-11-27 12:00 UTC", "because you moderate here"):
        assert said in text
    assert "&lt;b&gt;Eve&lt;/b&gt;" in page
    assert "<b>Eve" not in page
    assert "\u202e" not in text + page


@pytest.mark.parametrize(
    ("count", "total", "subject", "more"),
    [(1, 1, "1 comment waits for approval", None), (1, 2, "2 comments wait for approval", "1 more waits."),
     (25, 40, "40 comments wait for approval", "20 more wait."), (2, 0, "2 comments wait for approval", None)],
)  # fmt: skip
def test_many_are_named_up_to_twenty_and_counted(count: int, total: int, subject: str, more: str | None) -> None:
    mail = written(Waiting(tuple(replace(WAITS[0], comment_id=uuid4()) for _ in range(count)), total))
    assert mail["Subject"] == subject
    for kind in ("plain", "html"):
        said = part(mail, kind)
        assert said.count("2026-11-27 12:00 UTC") == min(count, 20)
        assert ("more wait" in said, more is None or more in said) == (more is not None, True)


def test_its_message_id_is_that_of_no_comment() -> None:
    assert MESSAGES.message_id(DIGEST) != MESSAGES.message_id(CLAIMED)
    assert MESSAGES.message_id(DIGEST) == MESSAGES.message_id(DIGEST)


@pytest.mark.parametrize(
    ("contact", "waiting", "why"),
    [
        (None, ANSWERS.waiting, "address_not_confirmed"),
        (Contact(None, False, 0, True), ANSWERS.waiting, "address_not_confirmed"),
        (Contact("mo@example.com", True, 1, False), ANSWERS.waiting, "not_a_moderator"),
        (Contact("mo@example.com", True, 1, True), Waiting((), 7), "nothing_waits"),
    ],
)
def test_it_goes_to_moderators_alone_and_only_while_something_waits(
    contact: Contact | None, waiting: Waiting | None, why: str
) -> None:
    assert addressee(ANSWERS) == ("mo@example.com", 1)
    with pytest.raises(NotWanted) as refusal:
        addressee(replace(ANSWERS, contact=contact, waiting=waiting))
    assert refusal.value.why == why


def test_its_link_stops_these_mails_alone() -> None:
    person = UUID(int=7)
    token = TOKENS.stop_moderation(person)
    assert (TOKENS.moderator(token), TOKENS.person(token)) == (person, None)
    assert TOKENS.moderator(TOKENS.unsubscribe(person)) is None
    assert TOKENS.moderator("x") is None
