"""Codes and secrets that people derives from its key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.people.domain import new_public_id
from services.people.tokens import Tokens

TOKENS = Tokens("a key")


def test_a_code_has_eight_digits_and_is_always_the_same() -> None:
    for _ in range(200):
        request = new_public_id()
        code = TOKENS.code(request)
        assert len(code) == 8
        assert code.isascii()
        assert code.isdigit()
        assert Tokens("a key").code(request) == code


def test_codes_depend_on_the_key_and_on_the_request() -> None:
    requests = [new_public_id() for _ in range(50)]
    assert len({TOKENS.code(request) for request in requests}) == 50
    assert [Tokens("another key").code(one) for one in requests] != [TOKENS.code(one) for one in requests]
    assert len({len(one) for one in requests}) == 1
    assert len(requests[0]) == 22  # 128 bits


@given(st.text())
def test_no_other_text_is_a_code(typed: str) -> None:
    request = "r" * 22
    digits = [sign for sign in typed if sign.isdecimal()]
    if len(digits) != 8:
        assert not TOKENS.is_code(request, typed)


@pytest.mark.parametrize("typed", ["", "²" * 8, "①" * 8, "Ⅷ" * 8, "\x00", "\ud800", "-", "1" * 100_000])
def test_what_is_no_digit_is_no_code(typed: str) -> None:
    assert not TOKENS.is_code("r" * 22, typed)


def test_codes_with_leading_zeros_keep_them() -> None:
    request = next(one for one in map(str, range(10_000)) if TOKENS.code(one).startswith("0"))
    code = TOKENS.code(request)
    assert TOKENS.is_code(request, code)
    assert not TOKENS.is_code(request, code[1:])
    assert not TOKENS.is_code(request, "0" + code)


def test_secrets_differ_by_purpose_link_and_nonce() -> None:
    found = {
        make(link, nonce)
        for make in (TOKENS.session, TOKENS.hand_over, Tokens("b").session)
        for link in (b"l" * 32, b"m" * 32)
        for nonce in ("n" * 43, "o" * 43)
    }
    assert len(found) == 12
    assert {len(secret) for secret in found} == {43}


def test_without_a_key_nothing_is_derived() -> None:
    with pytest.raises(ValueError, match="PEOPLE_SIGNING_KEY"):
        Tokens("")


def test_what_was_derived_by_the_other_key_counts_and_nothing_new_is_derived_by_it() -> None:
    request, link, nonce = new_public_id(), b"l" * 32, "n" * 43
    other, both = Tokens("another key"), Tokens("a key", "another key")
    assert both.code(request) == TOKENS.code(request) != other.code(request)
    assert both.is_code(request, TOKENS.code(request))
    assert both.is_code(request, other.code(request))
    assert not both.is_code(request, Tokens("a third key").code(request))
    assert not TOKENS.is_code(request, other.code(request))
    assert both.session(link, nonce) == TOKENS.session(link, nonce)
    assert both.sessions(link, nonce) == [TOKENS.session(link, nonce), other.session(link, nonce)]
    assert both.hand_overs(link, nonce) == [TOKENS.hand_over(link, nonce), other.hand_over(link, nonce)]
    assert TOKENS.sessions(link, nonce) == [TOKENS.session(link, nonce)]
