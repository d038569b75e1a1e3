"""The sender of mails, as `MAIL_FROM` names it: one parser for the check of the settings and for both services."""

from collections.abc import Callable
from functools import partial

import pytest
from pydantic_settings import BaseSettings

from services.chassis.mail.sender import Sender
from services.notify.settings import NotifySettings
from services.people.settings import PeopleSettings

people = partial(PeopleSettings, people_database_url="postgresql://people@db/people")
notify = partial(NotifySettings, notify_database_url="postgresql://notify@db/notify")
REFUSED = [
    *("", "Rapport", "a@b@c", "Rapport <>", "nobody"),
    *("X <a..b@host.example>", "X <a@b_c.example>", f"X <{'a' * 70}@host.example>", "X <a@[127.0.0.1]>"),
    *("X <ü@host.example>", "X <=?x?=@host.example>", f"X <a@{'ü' * 70}.example>"),
    *("A <a@b.example>, C <c@d.example>", "a@b.example, c@d.example", "a@b.example garbage", "A <a@b.example> x"),
    *("Rapport, Inc. <a@b.example>", "x@y.example <a@b.example>", '"A <a@b.example>', "A <a(c)@b.example>"),
    *("A\r\nBcc: x@y.example <a@b.example>", "A\x0b <a@b.example>", "A <a@b.example\n>"),
]


@pytest.mark.parametrize("mail_from", REFUSED)
@pytest.mark.parametrize("kind", [people, notify])
def test_a_sender_from_whom_no_mail_could_go_is_refused_with_the_settings(
    kind: Callable[..., BaseSettings], mail_from: str
) -> None:
    with pytest.raises(ValueError, match=r"is not one e-mail address: write Name <address@host.example>"):
        kind(mail_from=mail_from)


@pytest.mark.parametrize(
    ("mail_from", "sender"),
    [
        ("Rapport <n@rapport.test>", Sender("n@rapport.test", "Rapport")),
        ("n@rapport.test", Sender("n@rapport.test", "Rapport")),
        ("\u200b <n@rapport.test>", Sender("n@rapport.test", "Rapport")),
        ('"Rapport, Inc." <n@rapport.test>', Sender("n@rapport.test", "Rapport, Inc.")),
        ("Bücher <n@bücher.example>", Sender("n@xn--bcher-kva.example", "Bücher")),
        ("=?utf-8?q?Z?= \u202e <n@rapport.test>", Sender("n@rapport.test", "= ?utf-8?q?Z? =")),
    ],
)
def test_a_sender_is_an_address_in_ascii_and_a_name_safe_in_headers(mail_from: str, sender: Sender) -> None:
    assert people(mail_from=mail_from).sender == notify(mail_from=mail_from).sender == sender


def test_the_domain_of_a_sender_is_that_of_its_address() -> None:
    assert Sender.parse("Rapport <n@bücher.example>").domain == "xn--bcher-kva.example"
