"""Rules of people: addresses, roles, imported authors and refresh tokens."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.ids import new_id
from services.chassis.mail.addresses import parse_address
from services.people.domain import (
    ERASED_NAME,
    Person,
    Presented,
    confirmed_roles,
    fingerprint,
    granted,
    import_identity,
    imported_name,
    judge,
    new_secret,
    with_role,
    without_role,
)

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "typed", "lookup", "mailbox"),
    [
        ("ana@example.com", "ana@example.com", "ana@example.com", "ana@example.com"),
        ("Ana.B+x@Example.COM", "Ana.B+x@example.com", "ana.b+x@example.com", "Ana.B+x@example.com"),
        ("a@bücher.example", "a@bücher.example", "a@xn--bcher-kva.example", "a@xn--bcher-kva.example"),
        ("A@XN--BCHER-KVA.example", "A@bücher.example", "a@xn--bcher-kva.example", "A@xn--bcher-kva.example"),
        ("root@localhost", "root@localhost", "root@localhost", "root@localhost"),
        ("ana@rapport.test", "ana@rapport.test", "ana@rapport.test", "ana@rapport.test"),
        ("ana@mail.local", "ana@mail.local", "ana@mail.local", "ana@mail.local"),
    ],
)
def test_an_address_keeps_its_spelling_and_is_found_by_every_spelling(
    text: str, typed: str, lookup: str, mailbox: str
) -> None:
    address = parse_address(text)
    assert (address.typed, address.lookup, address.mailbox) == (typed, lookup, mailbox)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ana",
        "@example.com",
        "ana@",
        "ana@example.com, bob@example.com",
        "ana@example.com\r\nBcc: bob@example.com",
        "ana@example.com\nX: y",
        "Ana <ana@example.com>",
        "<ana@example.com>",
        '"ana b"@example.com',
        "ana@[127.0.0.1]",
        "änä@example.com",
        "=?utf-8?q?bob?=@example.com",
        "a..b@example.com",
        ".a@example.com",
        "ana@exa_mple.com",
        "ana@example.com.",
        "ana@-example.com",
        "a\u200b@example.com",
        "ana@exam\u0000ple.com",
        "x" * 65 + "@example.com",
        "x" * 250 + "@example.com",
    ],
)
def test_an_invalid_address_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be an e-mail address$"):
        parse_address(text)


LOCAL = st.text(alphabet="aB1.+-_=?'!#$%&*/^`{|}~ \"\\\r\n<>(),:;é\u202e", min_size=1, max_size=12)
DOMAIN = st.text(alphabet="aB1.-_é例@\u3002\r\n ", min_size=1, max_size=12)


@given(st.text(max_size=300) | st.builds("{}@{}".format, LOCAL, DOMAIN))
def test_any_text_is_refused_or_parsed_to_a_stable_address(text: str) -> None:
    try:
        address = parse_address(text)
    except ValueError:
        return
    assert address.mailbox.isascii()
    assert not set(address.mailbox) & set("\r\n <>,;\"'\0") - {"'"}
    assert parse_address(address.typed) == address
    assert parse_address(address.mailbox).lookup == address.lookup


def test_roles_are_a_set_in_a_fixed_order() -> None:
    assert with_role((), "reader") == ("reader",)
    assert with_role(("admin", "reader"), "author") == ("reader", "author", "admin")
    assert with_role(("reader", "author"), "author") == ("reader", "author")


def test_a_grant_of_reader_and_a_revocation_take_roles_away() -> None:
    assert granted(("reader", "author", "admin"), "reader") == ("reader",)
    assert granted(("reader",), "author") == ("reader", "author")
    assert without_role(("reader", "author", "admin"), "author") == ("reader", "admin")
    assert without_role(("reader",), "author") == ("reader",)
    with pytest.raises(ValueError, match="everybody"):
        without_role(("reader",), "reader")


def test_a_confirmed_person_is_a_reader_and_a_listed_one_an_admin() -> None:
    admins = {"root@example.com"}
    assert confirmed_roles((), "ana@example.com", admins) == ("reader",)
    assert confirmed_roles((), "root@example.com", admins) == ("reader", "admin")
    assert confirmed_roles(("reader", "author"), "root@example.com", admins) == ("reader", "author", "admin")


def test_imported_authors_are_identified_by_user_id_or_by_address_and_name() -> None:
    by_user = import_identity("blog", "7", "a@example.com", "Ana")
    assert by_user == import_identity("blog", "7", "other@example.com", "Another")
    assert by_user != import_identity("other", "7", "a@example.com", "Ana")
    typed = import_identity("blog", None, "a@example.com", "Ana")
    assert typed == import_identity("blog", None, "A@Example.com", "Ana")
    assert typed != import_identity("blog", None, "a@example.com", "Bob")
    assert typed != import_identity("blog", None, "b@example.com", "Ana")
    assert typed != by_user
    assert import_identity("a", None, "b", "c") != import_identity("a", None, "bc", "")


def test_an_imported_name_can_always_be_shown() -> None:
    assert imported_name("") == "Anonymous"
    assert imported_name("Ana") == "Ana"
    assert len(imported_name("x" * 5_000)) == 100
    assert imported_name("\u200b" * 100 + "Ana") == "Anonymous"
    assert imported_name("x" * 98 + "👍🏽👍🏽") == "x" * 98 + "👍🏽"
    assert imported_name("x" * 99 + "👍🏽") == "x" * 99


def test_an_erased_person_is_shown_as_deleted() -> None:
    person = Person(new_id(), "Ana", (), 1, False, NOW)
    assert person.shown_name == "Ana"
    assert replace(person, name=None).shown_name == ERASED_NAME


def test_secrets_have_256_bits_and_are_stored_as_sha256() -> None:
    secret = new_secret()
    assert len(secret) == 43
    assert secret != new_secret()
    assert len(fingerprint(secret)) == 32
    assert secret.encode() not in fingerprint(secret)


FRESH = Presented(
    now=NOW,
    expires_at=NOW + timedelta(days=1),
    used_at=None,
    used_with=None,
    voided=False,
    successor_unused=False,
    session_open=True,
)
USED = replace(FRESH, used_at=NOW - timedelta(seconds=60), used_with=b"key", successor_unused=True)


@pytest.mark.parametrize(
    ("token", "key", "verdict"),
    [
        (FRESH, None, "rotate"),
        (FRESH, b"key", "rotate"),
        (replace(FRESH, expires_at=NOW), None, "refuse"),
        (replace(FRESH, session_open=False), None, "refuse"),
        (replace(FRESH, voided=True), b"key", "refuse"),
        (USED, b"key", "replace-lost"),
        (USED, b"other", "end-family"),
        (USED, None, "end-family"),
        (replace(USED, used_with=None), None, "end-family"),
        (replace(USED, used_at=NOW - timedelta(seconds=61)), b"key", "end-family"),
        (replace(USED, successor_unused=False), b"key", "end-family"),
        (replace(USED, session_open=False), None, "refuse"),
        (replace(USED, expires_at=NOW), None, "end-family"),
    ],
)
def test_a_refresh_token_is_judged(token: Presented, key: bytes | None, verdict: str) -> None:
    assert judge(token, key) == verdict
