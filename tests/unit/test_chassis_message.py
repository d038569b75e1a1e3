"""A mail says exactly what was meant, whatever stands in the strings it is made from."""

import time
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.parser import HeaderParser
from email.utils import getaddresses

import pytest

from services.chassis.mail import message as mail
from services.chassis.mail.addresses import envelope_address
from services.chassis.mail.message import Mailbox, Unsafe, compose, header_text, list_id
from tests.hostile import hostile_strings

ENGLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"
WHEN = datetime(2026, 11, 23, 4, 35, tzinfo=UTC)
SITE = Mailbox("notifications@rapport.example", "Rapport")
BOB = Mailbox("bob@example.org", "Bob")
LIST_HEADERS = [
    ("In-Reply-To", "<parent@rapport.example>"),
    ("References", "<top@rapport.example> <parent@rapport.example>"),
    ("List-Id", "<replies.rapport.example>"),
    ("List-Unsubscribe", "<https://rapport.example/unsubscribe/" + "t" * 120 + ">"),
    ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
    ("Auto-Submitted", "auto-generated"),
]
NAMES = [
    *("From", "To", "Subject", "Message-ID", "Date"),
    *(name for name, _ in LIST_HEADERS),
    *("MIME-Version", "Content-Type"),
]


def build(
    *,
    sender: Mailbox = SITE,
    recipient: Mailbox = BOB,
    subject: str = "hello",
    message_id: str = "<one@rapport.example>",
    text: str = "Hi\n",
    html: str | None = "<p>Hi</p>",
    headers: list[tuple[str, str]] = LIST_HEADERS,
) -> bytes:
    return compose(
        sender=sender,
        recipient=recipient,
        subject=subject,
        message_id=message_id,
        date=WHEN,
        text=text,
        html=html,
        headers=headers,
    )


def read(message: bytes) -> EmailMessage:
    return message_from_bytes(message, policy=policy.default)


def raw_names(message: bytes) -> list[str]:
    """Header names as the most naive reader finds them, in either line end."""
    head = message.replace(b"\r\n", b"\n").replace(b"\r", b"\n").partition(b"\n\n")[0]
    return [line.partition(b":")[0].decode() for line in head.split(b"\n") if not line.startswith((b" ", b"\t"))]


def said(mail: EmailMessage) -> str:
    """Its plain text with plain line ends."""
    part = mail.get_body(("plain",))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def test_a_mail_reads_as_it_was_meant() -> None:
    text = "Hällo\n\n.\nFrom here on \n" + "long lines = " * 200 + "\n"
    message = build(subject="Böb answered you under “Fish”", text=text, html="<p>Hällo</p>" * 99)
    mail = read(message)
    assert raw_names(message) == NAMES == mail.keys()
    assert mail["Subject"] == "Böb answered you under “Fish”"
    assert mail["From"] == "Rapport <notifications@rapport.example>"
    assert mail["To"] == "Bob <bob@example.org>"
    assert mail["Date"] == "Mon, 23 Nov 2026 04:35:00 +0000"
    assert mail["List-Unsubscribe"] == LIST_HEADERS[3][1], "a long URL stays whole"
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    assert said(mail) == text
    assert message.isascii()
    assert max(map(len, message.split(b"\r\n"))) <= 998
    assert b"\n" not in message.replace(b"\r\n", b"")


def test_a_mail_of_text_alone_has_one_part() -> None:
    mail = read(build(html=None, headers=[]))
    assert mail.get_content_type() == "text/plain"
    assert said(mail) == "Hi\n"


def test_the_same_mail_is_the_same_bytes() -> None:
    assert build() == build()


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("=?utf-8?q?hi=0ABcc=3A_evil=40x?=", "= ?utf-8?q?hi=0ABcc=3A_evil=40x? ="),
        ("hi\r\nBcc: eve@example.net", "hi Bcc: eve@example.net"),
        ("hi\u2028Bcc: eve@example.net", "hi Bcc: eve@example.net"),
        ("hi\x85Bcc: x", "hi Bcc: x"),
        ("a\u202egnp.exe", "agnp.exe"),
        ("a\ud800b\0c", "ab c"),
        ("a\ufffeb\ufdd0c\U0010ffffd", "abcd"),
        (ENGLAND, ENGLAND),
        ("hidden\U000e0041", "hidden"),
        ("\u200eא\u200f\u061c!", "\u200eא\u200f\u061c!"),
        ("Re: \u2068שלום\u2069", "Re: \u2068שלום\u2069"),
        ("x" * 245 + ENGLAND, "x" * 245 + "…"),
        ("", "(no subject)"),
        (" \r\n\t ", "(no subject)"),
        ("x" * 5000, "x" * 249 + "…"),
        ("ｅ\u0301" * 200, None),
        ("日" * 400, "日" * 249 + "…"),
        ("=" + "?" * 300, None),
    ],
)
def test_a_hostile_subject_becomes_harmless(hostile: str, shown: str | None) -> None:
    message = build(subject=hostile)
    assert raw_names(message) == NAMES
    if shown is not None:
        assert read(message)["Subject"] == shown
    assert len(header_text(hostile)) <= 250


def test_a_subject_full_of_marks_costs_no_more_than_another() -> None:
    begun = time.process_time()
    assert len(header_text("a" + "\u05b3\u05b2\u05b1\u05b0" * 7_000)) <= 250
    assert time.process_time() - begun < 0.2


@pytest.mark.parametrize(
    "name",
    [
        'Eve" <eve@example.net>, "Bob',
        "eve@example.net",
        "=?utf-8?q?=22_=3Ceve=40example.net=3E=2C?=",
        "a, b; c: d",
        "Eve (comment",
        "back\\slash",
        "\u202eevE",
        "<>",
        "Дмитрий " * 12,
    ],
)
def test_a_name_never_becomes_an_address(name: str) -> None:
    mail = read(build(recipient=Mailbox("bob@example.org", name), sender=Mailbox(SITE.address, name)))
    assert [box.addr_spec for box in mail["To"].addresses] == ["bob@example.org"]
    assert [box.addr_spec for box in mail["From"].addresses] == ["notifications@rapport.example"]
    assert "@" not in mail["To"].addresses[0].display_name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Bcc", "eve@example.net"),
        ("cc", "eve@example.net"),
        ("Subject", "again"),
        ("Content-Type", "text/html"),
        ("X-Two words", "x"),
        ("X-Break\r\nBcc", "x"),
        ("X-Value", "one\r\nBcc: eve@example.net"),
        ("X-Value", "one\n two"),
        ("X-Value", "ümlaut"),
        ("X-Value", "=?utf-8?q?x?="),
        ("X-Value", ""),
        ("X-Value", "x" * 1000),
    ],
)
def test_a_header_that_is_not_plain_is_refused(name: str, value: str) -> None:
    with pytest.raises(Unsafe):
        build(headers=[(name, value)])


@pytest.mark.parametrize(
    "name", ["Rapport", "Café", 'A "quoted" name', "a@b", "", "x" * 300, "=?utf-8?q?x?=", "a\r\nb"]
)
def test_a_list_has_an_id_whatever_its_name(name: str) -> None:
    value = list_id(name, "notifications.rapport.example")
    mail = read(build(headers=[("List-Id", value)]))
    assert mail["List-Id"] == ('"Rapport" ' if name == "Rapport" else "") + "<notifications.rapport.example>"


def test_a_display_name_keeps_its_flag_and_its_marks() -> None:
    mail = read(build(sender=Mailbox(SITE.address, f"{ENGLAND}א\u200f\u202e\u2068\uffff (via R)")))
    assert mail["From"].addresses[0].display_name == f"{ENGLAND}א\u200f (via R)"


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("Bob", '"Bob"'),
        ("Bob Miller (via The Talk)", '"Bob Miller (via The Talk)"'),
        ("Miller, Bob; Sales: a", '"Miller, Bob; Sales: a"'),
        ('the "best" site', r'"the \"best\" site"'),
        ("back\\slash\\", r'"back\\slash\\"'),
        ("Bob_ [x] {y} #1 100%", '"Bob_ [x] {y} #1 100%"'),
        ("word " * 28 + "end", '"' + "word " * 28 + 'end"'),
    ],
)
def test_a_name_in_ascii_is_a_quoted_string_that_is_not_broken(name: str, raw: str) -> None:
    message = build(sender=Mailbox(SITE.address, name), recipient=Mailbox("bob@example.org", name))
    unfolded = message.replace(b">\r\n", b">\n").replace(b'"\r\n <', b'" <')
    assert f"From: {raw} <{SITE.address}>\n".encode() in unfolded
    assert f"To: {raw} <bob@example.org>\n".encode() in unfolded
    assert read(message)["From"].addresses[0].display_name == name


@pytest.mark.parametrize("name", ["Zoë, Miller", 'the "größte"', "bob@example.org", "日本\\"])
def test_any_other_name_is_encoded_words(name: str) -> None:
    mail = read(build(sender=Mailbox(SITE.address, name)))
    assert mail["From"].addresses[0].display_name == name.replace("@", "＠")


def test_a_header_may_not_come_twice() -> None:
    with pytest.raises(Unsafe):
        build(headers=[("X-One", "a"), ("x-one", "b")])


@pytest.mark.parametrize("message_id", ["", "one@x", "<one>", "<one@x>\r\nBcc: e@x", "<o ne@x>", "<one@x><two@x>"])
def test_a_malformed_message_id_is_refused(message_id: str) -> None:
    with pytest.raises(Unsafe):
        build(message_id=message_id)


@pytest.mark.parametrize("address", ["", "bob", "böb@example.org", "bob@example.org,eve@example.net", "<bob@x.org>"])
def test_an_address_that_is_not_one_is_refused(address: str) -> None:
    with pytest.raises(Unsafe):
        build(recipient=Mailbox(address))
    with pytest.raises(Unsafe):
        build(sender=Mailbox(address))


def test_what_cannot_stand_in_a_body_is_taken_out() -> None:
    mail = read(build(text="a\0b\x1b[31m\r\nc\rd\ud800\u2028e\n", html=None, headers=[]))
    assert said(mail) == "ab[31m\nc\nde\n"
    text = f"a\ufffe{ENGLAND}\u202eb\U000e0041\u200f \u2068שלום\u2069\n"
    mail = read(build(text=text, html=f"<p>{text}</p>", headers=[]))
    for part in mail.iter_parts():
        assert f"a{ENGLAND}b\u200f \u2068שלום\u2069" in part.get_content()


def recipients(message: bytes, name: str) -> list[str]:
    """The addresses of a header as another, older parser of the standard library reads them."""
    value = str(HeaderParser().parsestr(message.decode())[name])
    return [address for _, address in getaddresses([value])]


@pytest.mark.parametrize("seed", range(4))
def test_twenty_thousand_hostile_strings_add_no_header_and_no_recipient(seed: int) -> None:
    """A quarter of them each. A string is subject, both display names and, where it passes as one, the address."""
    addresses = 0
    for at, hostile in enumerate(hostile_strings(5_000, seed)):
        recipient = Mailbox("bob@example.org", hostile)
        message = build(recipient=recipient, sender=Mailbox(SITE.address, hostile), subject=hostile, html=None)
        assert raw_names(message) == [*NAMES, "Content-Transfer-Encoding"], at
        for name, wanted in (("From", SITE.address), ("To", "bob@example.org")):
            assert recipients(message, name) == [wanted], at
        for address in (hostile, f"{hostile}@example.org", f"bob@{hostile}"):
            try:
                wanted = envelope_address(address)
                mail = build(recipient=Mailbox(address, hostile), html=None, headers=[])
            except ValueError:
                continue
            addresses += 1
            assert recipients(mail, "To") == [wanted], at
            assert wanted.count("@") == 1, at
            assert wanted.isascii(), at
            assert not set(wanted) & set(' <>()[],;:"\\'), at
    assert addresses > 40, "some of them must be addresses, else nothing was tried"


def test_what_is_read_by_its_form_alone_is_what_a_parser_reads() -> None:
    """The short way of reading back a mailbox takes no value that the library's parser reads otherwise."""
    for hostile in hostile_strings(2_000, 7):
        for name in (hostile, f"{hostile} (via Rapport)"):
            value = mail._mailbox(name, "bob@example.org")
            assert mail._only_mailbox(value) == "bob@example.org"
            assert mail._parses_as_mailbox("From", value, "bob@example.org")


@pytest.mark.parametrize(
    "value",
    [
        "bob@example.org, eve@example.net",
        "bob@example.org <eve@example.net>",
        "<bob@example.org",
        "bob@example.org>",
        '"Bob" bob@example.org',
        '"Bob\\" <eve@example.net>, " <bob@example.org>',
        '"Bob" "Eve" <bob@example.org>',
        '"Bob\\x" <bob@example.org>',
        '"a@b" <bob@example.org>',
        '"a <b> c" <bob@example.org>',
        '"" <bob@example.org>',
        "Bob <bob@example.org>",
        "=?utf-8?q?Bob=0A?= <bob@example.org>",
        "=?utf-8?b?Qm9i?=<bob@example.org>",
        "=?utf-8?b?Qm9i?= =?utf-8?b??= <bob@example.org>",
        "=?utf-8?b?Qm9i?=  =?utf-8?b?Qm9i?= <bob@example.org>",
        "team:bob@example.org;",
        "(Bob) bob@example.org",
        "bob@example.org\n",
        "",
    ],
)
def test_any_other_form_is_left_to_the_parser(value: str) -> None:
    assert mail._only_mailbox(value) is None


@pytest.mark.parametrize(
    "head", ["<head>\n<title>\u201cé\u201d =</title>\n</head>\n", "</head>\n", "", " \t \n</head>\n"]
)
@pytest.mark.parametrize(
    "body", ["", ".", "\n", "\r\n.\r\nFrom me \n", "é" * 200, "</head>\n</head>\nx", "x" * 400 + " "]
)
def test_a_head_that_is_encoded_apart_changes_no_byte(head: str, body: str) -> None:
    assert mail._quoted_printable(head + body) == mail._encoded_lines(head + body)
    assert mail._quoted_printable(head + body) == mail._encoded_lines(head + body), "from memory"
