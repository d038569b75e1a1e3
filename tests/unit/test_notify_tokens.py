"""Unsubscribe tokens and message ids: derived, purpose-bound, without any address."""

import hashlib
import re
from uuid import UUID, uuid4

import itsdangerous
import pytest

from services.notify.tokens import Tokens

SECRET = "s" * 32
TOKENS = Tokens(SECRET, "rapport.test")


def test_a_token_belongs_to_one_person_for_ever() -> None:
    person = uuid4()
    token = TOKENS.unsubscribe(person)
    assert TOKENS.person(token) == person
    assert Tokens(SECRET, "elsewhere.test").person(token) == person
    assert re.fullmatch(r"[A-Za-z0-9._-]{60,80}", token)


def test_a_token_with_any_other_character_is_unknown() -> None:
    token = TOKENS.unsubscribe(UUID(int=1))
    changed = 0
    for index, character in enumerate(token[:-1]):  # the last one has bits that mean nothing
        other = "A" if character != "A" else "B"
        assert TOKENS.person(token[:index] + other + token[index + 1 :]) is None, index
        changed += 1
    assert changed > 60


@pytest.mark.parametrize("token", ["", ".", "x", "ä.ö", "\ud800", "a.b.c", "=" * 80, "A" * 10_000])
def test_a_string_that_is_no_token_is_unknown(token: str) -> None:
    assert TOKENS.person(token) is None


def test_a_token_of_another_secret_or_purpose_is_unknown() -> None:
    person = uuid4()
    assert Tokens("t" * 32, "rapport.test").person(TOKENS.unsubscribe(person)) is None
    for salt in ("rapport.people.sign-in", "itsdangerous.Signer"):
        value = TOKENS.unsubscribe(person).partition(".")[0]
        for digest in (hashlib.sha1, hashlib.sha256):
            for derivation in ("django-concat", "hmac", "concat"):
                other = itsdangerous.Signer(SECRET, salt=salt, key_derivation=derivation, digest_method=digest)
                assert TOKENS.person(other.sign(value).decode()) is None


def test_a_signed_value_that_is_no_person_is_unknown() -> None:
    signer = TOKENS._unsubscribe
    for value in ("", "AAAA", "ä", "!" * 22):
        assert TOKENS.person(signer.sign(value.encode()).decode()) is None


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="NOTIFY_SECRET"):
        Tokens("short", "rapport.test")


def test_a_message_id_is_the_same_for_ever_and_differs_by_person_and_thing() -> None:
    comment, anna, ben = uuid4(), uuid4(), uuid4()
    first = TOKENS.message_id("comment", comment, anna)
    assert first == TOKENS.message_id("comment", comment, anna)
    assert re.fullmatch(r"<comment\.[0-9a-f]{32}\.[0-9a-f]{24}@rapport\.test>", first)
    others = {
        TOKENS.message_id("comment", comment, ben),
        TOKENS.message_id("comment", uuid4(), anna),
        TOKENS.message_id("post", comment, anna),
        Tokens("t" * 32, "rapport.test").message_id("comment", comment, anna),
    }
    assert first not in others
    assert len(others) == 4


def test_links_by_earlier_secrets_lead_to_their_person_and_new_links_are_made_by_the_secret_alone() -> None:
    person = uuid4()
    oldest, old = (Tokens(secret, "rapport.test").unsubscribe(person) for secret in ("a" * 32, "b" * 32))
    now = Tokens("c" * 32, "rapport.test", ["b" * 32, "a" * 32])
    assert [now.person(token) for token in (oldest, old, now.unsubscribe(person))] == [person] * 3
    assert now.unsubscribe(person) == Tokens("c" * 32, "rapport.test").unsubscribe(person)
    assert Tokens("c" * 32, "rapport.test", ["b" * 32]).person(oldest) is None
    assert now.person(Tokens("d" * 32, "rapport.test").unsubscribe(person)) is None
    assert [now.person(token) for token in ("", "ä", "\ud800", "x.y")] == [None] * 4


def test_a_mail_has_one_id_and_is_referred_to_by_all_that_it_may_have() -> None:
    comment, person = uuid4(), uuid4()
    alone = [Tokens(secret * 32, "rapport.test").message_id("comment", comment, person) for secret in "abcd"]
    found = Tokens("d" * 32, "rapport.test", ["c" * 32, "b" * 32, "a" * 32])
    assert found.message_id("comment", comment, person) == alone[3]
    assert found.message_ids("comment", comment, person) == alone[1:]  # headers stay short
    assert Tokens("a" * 32, "rapport.test").message_ids("comment", comment, person) == alone[:1]
