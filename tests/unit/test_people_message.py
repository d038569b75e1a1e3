"""The sign-in mail, and the settings it depends on."""

import re
from email import message_from_bytes, policy

import pytest

from services.chassis.mail.message import Unsafe
from services.chassis.mail.sender import Sender
from services.people.mailer import delay_after
from services.people.message import SignInMessageBuilder
from services.people.settings import PeopleSettings
from services.people.tokens import Tokens

TOKENS, REQUEST = Tokens("a key"), "r" * 22
TOKEN = "A-_" + "b" * 40
LINK = f"https://talk.example.com/base/sign-in/{TOKEN}"


def build(mailbox: str = "ana@example.com", mail_from: str = '"Söme <Site> & Co" <mail@example.com>') -> bytes:
    builder = SignInMessageBuilder(
        sender=Sender.parse(mail_from), public_url="https://talk.example.com/base/", tokens=TOKENS
    )
    return builder.build(mailbox, TOKEN, REQUEST)


def test_the_mail_has_exactly_these_headers() -> None:
    message = message_from_bytes(build(), policy=policy.default)
    assert sorted(message.keys()) == [
        *("Auto-Submitted", "Content-Type", "Date", "From", "MIME-Version", "Message-ID", "Subject", "To"),
        "X-Auto-Response-Suppress",
    ]
    assert message["To"].addresses[0].addr_spec == "ana@example.com"
    assert message["From"].addresses[0].addr_spec == "mail@example.com"
    assert re.fullmatch(r"<sign-in\.[0-9a-f]{32}@example\.com>", message["Message-ID"])
    assert message["Date"].datetime.tzinfo is not None


@pytest.mark.parametrize("kind", ["plain", "html"])
def test_the_mail_holds_the_link_and_no_other(kind: str) -> None:
    message = message_from_bytes(build(), policy=policy.default)
    part = message.get_body((kind,))
    assert part is not None
    text = part.get_content()
    found = re.findall(r"[a-z]+://[^\s\"<>]+", text)
    assert found
    assert set(found) == {LINK}
    assert not re.search(r"www\.|mailto:|<img|src=", text)
    if kind == "html":
        assert re.findall(r'href="([^"]*)"', text) == [LINK]


def test_the_code_stands_in_the_texts_alone() -> None:
    code = TOKENS.code(REQUEST)
    raw = build()
    message = message_from_bytes(raw, policy=policy.default)
    for kind in ("plain", "html"):
        part = message.get_body((kind,))
        assert part is not None
        assert re.findall(r"\b[0-9]{8}\b", part.get_content()) == [code]
    assert not any(code in str(value) or REQUEST in str(value) for value in message.values())
    assert REQUEST not in raw.decode()


def test_a_mail_without_a_request_of_a_name_has_no_code() -> None:
    builder = SignInMessageBuilder(
        sender=Sender.parse("a@b.example"), public_url="https://talk.example.com", tokens=TOKENS
    )
    message = message_from_bytes(builder.build("ana@example.com", TOKEN, None), policy=policy.default)
    for kind in ("plain", "html"):
        part = message.get_body((kind,))
        assert part is not None
        assert "code" not in part.get_content()


def test_two_mails_are_two_messages() -> None:
    ids = {message_from_bytes(build(), policy=policy.default)["Message-ID"] for _ in range(2)}
    assert len(ids) == 2


@pytest.mark.parametrize("mailbox", ["a@example.com, b@example.com", "a@example.com\r\nBcc: b@example.com", "a", ""])
def test_no_message_is_built_for_an_invalid_address(mailbox: str) -> None:
    with pytest.raises(Unsafe):
        build(mailbox)


def test_a_site_without_a_name_is_called_rapport() -> None:
    message = message_from_bytes(build(mail_from="mail@example.com"), policy=policy.default)
    assert message["Subject"] == "Sign in to Rapport"


def test_the_name_of_the_site_is_isolated() -> None:
    message = message_from_bytes(build(mail_from="אתר <mail@example.com>"), policy=policy.default)
    assert message["Subject"] == "Sign in to \u2068אתר\u2069"
    text, page = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert page is not None
    assert "sign in to \u2068אתר\u2069:" in text.get_content()
    assert "sign in to <bdi>אתר</bdi>:" in page.get_content()


def test_admins_are_normalised_like_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEOPLE_DATABASE_URL", "postgresql://people@db/people")
    monkeypatch.setenv("ADMIN_EMAILS", " Root@Example.com, ,b@bücher.example,")
    assert PeopleSettings().admins == {"root@example.com", "b@xn--bcher-kva.example"}
    monkeypatch.setenv("ADMIN_EMAILS", "root")
    with pytest.raises(ValueError, match="must be an e-mail address"):
        _ = PeopleSettings().admins


def test_delays_grow_to_half_a_minute() -> None:
    assert [delay_after(attempts).total_seconds() for attempts in (1, 2, 3, 4, 5, 50)] == [2, 4, 8, 16, 30, 30]


def test_the_mail_wears_the_clothes_of_all_mails() -> None:
    part = message_from_bytes(build(), policy=policy.default).get_body(("html",))
    assert part is not None
    page = part.get_content()
    for rule in ('name="viewport"', 'content="light dark"', "prefers-color-scheme: dark", "overflow-wrap: anywhere"):
        assert rule in page
