"""Mails as the services write them, of texts that a test chooses."""

from email import message_from_bytes, policy
from uuid import UUID, uuid4

from services.chassis.mail.sender import Sender
from services.chassis.text.renderer import to_html
from services.notify.domain import Claimed
from services.notify.message import MessageBuilder
from services.notify.objections import Answers, CommentNow, Contact, PostNow
from services.notify.tokens import Tokens
from services.people import tokens
from services.people.message import SignInMessageBuilder

TYPICAL = """\
I think that is right, and I would add one thing: the *order* matters.

> Whatever is built once is built now.

So we should wait, see https://example.org/waiting for ~~why~~ [how](https://example.org/how).

1. first
2. second
"""
NOTIFICATIONS = MessageBuilder(
    sender=Sender.parse("The Talk <notifications@talk.example.org>"),
    public_url="https://talk.example.org",
    tokens=Tokens("s" * 32, "talk.example.org"),
)
SIGN_IN = SignInMessageBuilder(
    sender=Sender.parse("The Talk <mail@talk.example.org>"),
    public_url="https://talk.example.org",
    tokens=tokens.Tokens("a key of tests"),
)


def notification(
    markdown: str = TYPICAL, *, name: str = "Ben Miller", title: str = "On messages", reason: str = "reply_to_you"
) -> bytes:
    """Return the mail about a comment."""
    claimed = Claimed(
        id=uuid4(),
        version=1,
        person_id=uuid4(),
        comment_id=UUID("0197d0c0-1111-7111-8111-111111111111"),
        post_id=uuid4(),
        author_id=uuid4(),
        reasons=(reason,),
        lease_token=uuid4(),
        tried_for=None,
        frozen=None,
        frozen_for=None,
        correlation_id=None,
        causation_id=None,
    )
    comment = CommentNow("visible", to_html(markdown, "markdown", "comment"), False, 1, (uuid4(),))
    post = PostNow("published", title, "on-messages", 1)
    answers = Answers(0, Contact("anna@example.com", True, 1), name, comment, post)
    return NOTIFICATIONS.build(claimed, answers, "anna@example.com")


def sign_in() -> bytes:
    """Return a sign-in mail."""
    return SIGN_IN.build("anna@example.com", "A-_" + "b" * 40, "a request")


def html_part(content: bytes) -> str:
    """Return the HTML part of a mail."""
    part = message_from_bytes(content, policy=policy.default).get_body(("html",))
    assert part is not None
    return str(part.get_content())
