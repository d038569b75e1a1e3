"""Tokens: which are accepted, and above all which are not."""

import base64
import json
import time
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jws
from joserfc.jwk import OctKey, OKPKey

from services.chassis import identity
from services.chassis.errors import Problem
from services.chassis.identity import Caller, Signer, Verifier
from services.contracts.people import ROLES, is_admin, is_author, is_moderator
from services.operator.keys import generate_keys

KEYS = generate_keys()
GATEWAY = Signer(KEYS["GATEWAY_SIGNING_KEY"], "gateway")
PRIVATE = OKPKey.import_key(json.loads(KEYS["GATEWAY_SIGNING_KEY"]))
HEADER = {"alg": "Ed25519", "kid": "gateway-1", "typ": "JWT"}


def verifier(**options: Any) -> Verifier:
    return Verifier(KEYS["VERIFICATION_KEYS"], "posts", **options)


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    usual = {"iss": "gateway", "aud": "posts", "sub": "anonymous", "iat": now, "exp": now + 60}
    return {name: value for name, value in (usual | changes).items() if value is not None}


def sign(payload: Any, header: dict[str, Any] = HEADER, key: Any = PRIVATE) -> str:
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return jws.serialize_compact(dict(header), data, key, algorithms=[header["alg"]])


def encode(part: Any) -> str:
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def resigned(header: dict[str, Any], payload: Any) -> str:
    """Return a token signed with the right key whatever its header says, which the library would refuse to make."""
    content = f"{encode(header)}.{encode(payload)}"
    assert isinstance(PRIVATE.private_key, Ed25519PrivateKey)
    return f"{content}.{encode(PRIVATE.private_key.sign(content.encode()))}"


def test_token_names_the_caller() -> None:
    person, session = uuid4(), uuid4()
    token = GATEWAY.token("posts", person, ["reader", "author"], session_id=session)
    assert verifier().verify(token) == Caller("gateway", person, frozenset({"reader", "author"}), session)
    assert verifier().verify(GATEWAY.token("posts")) == Caller("gateway")


def test_admin_has_the_rights_of_all_roles() -> None:
    assert [is_author({role}) for role in ROLES] == [False, True, False, True]
    assert [is_moderator({role}) for role in ROLES] == [False, False, True, True]
    assert [is_admin({role}) for role in ROLES] == [False, False, False, True]


def test_anonymous_call_requires_a_sign_in() -> None:
    person = uuid4()
    assert Caller("gateway", person).require_person() == person
    with pytest.raises(Problem, match="sign-in-required"):
        Caller("gateway").require_person()


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "comments"},
        {"aud": ["posts"]},
        {"aud": None},
        {"iss": "notify"},
        {"iss": None},
        {"iss": ["gateway"]},
        {"exp": int(time.time()) - 1},
        {"exp": int(time.time()) + 3600},
        {"exp": None},
        {"exp": "9999999999"},
        {"exp": float("1e9")},
        {"exp": True},
        {"iat": int(time.time()) + 3600},
        {"iat": None},
        {"sub": None},
        {"sub": "somebody"},
        {"sub": 7},
        {"roles": "admin"},
        {"roles": [1]},
        {"sid": "x"},
        {"sid": 5},
    ],
)
def test_wrong_claim_is_refused(changes: dict[str, Any]) -> None:
    assert verifier().verify(sign(claims())).issuer == "gateway"
    with pytest.raises(Problem, match="invalid-token"):
        verifier().verify(sign(claims(**changes)))


@pytest.mark.parametrize(
    "header",
    [
        HEADER | {"alg": "none"},
        HEADER | {"alg": "HS256"},
        HEADER | {"alg": "EdDSA"},
        HEADER | {"alg": ["Ed25519"]},
        HEADER | {"typ": "at+jwt"},
        HEADER | {"typ": None},
        HEADER | {"kid": "people-1"},
        HEADER | {"kid": "gateway-2"},
        HEADER | {"kid": ["gateway-1"]},
        HEADER | {"kid": None},
        HEADER | {"crit": ["exp"], "exp": 1},
        HEADER | {"b64": False, "crit": ["b64"]},
        HEADER | {"jku": "https://evil.example/keys"},
        HEADER | {"x5u": "https://evil.example/cert"},
        HEADER | {"jwk": json.loads(KEYS["VERIFICATION_KEYS"])["keys"][0]},
        HEADER | {"cty": "JWT"},
        {"alg": "Ed25519", "kid": "gateway-1"},
        {"alg": "Ed25519", "typ": "JWT"},
    ],
)
def test_header_does_not_choose_the_verification(header: dict[str, Any]) -> None:
    assert verifier().verify(resigned(HEADER, claims())).issuer == "gateway"
    with pytest.raises(Problem, match="invalid-token"):
        verifier().verify(resigned(header, claims()))


def test_public_key_is_no_hmac_secret() -> None:
    public = json.loads(KEYS["VERIFICATION_KEYS"])["keys"][0]
    forged = sign(claims(), HEADER | {"alg": "HS256"}, OctKey.import_key(public["x"]))
    with pytest.raises(Problem, match="invalid-token"):
        verifier().verify(forged)


GARBAGE = [
    "",
    ".",
    "..",
    "a.b.c",
    "é.b.c",
    "x" * 5000,
    "a" * 100 + "." + "b" * 100,
    f"{encode(HEADER)}.{encode(claims())}.",
    f"{encode([])}.{encode(claims())}.{encode(b'x' * 64)}",
    f"{encode(b'[' * 400)}.{encode(claims())}.{encode(b'x' * 64)}",
    resigned(HEADER, b"[" * 2000),
    resigned(HEADER, b"null"),
    resigned(HEADER, b"[]"),
    resigned(HEADER, b"\xff"),
    resigned(HEADER, b'{"exp": 1e999}'),
]


@pytest.mark.parametrize("at", range(len(GARBAGE)))  # by number: signatures differ from run to run
def test_garbage_is_refused(at: int) -> None:
    with pytest.raises(Problem, match="invalid-token"):
        verifier().verify(GARBAGE[at])


def test_token_with_a_changed_character_is_refused() -> None:
    token = GATEWAY.token("posts", uuid4())
    for at in range(0, len(token) - 1, 7):
        other = "A" if token[at] != "A" else "B"
        with pytest.raises(Problem, match="invalid-token"):
            verifier().verify(token[:at] + other + token[at + 1 :])


def test_key_signs_for_its_own_issuer_only() -> None:
    with pytest.raises(ValueError, match="not one of people"):
        Signer(KEYS["GATEWAY_SIGNING_KEY"], "people")
    with pytest.raises(Problem, match="invalid-token"):
        verifier(accepted=["people"]).verify(GATEWAY.token("posts"))
    people = Signer(KEYS["PEOPLE_SIGNING_KEY"], "people")
    assert verifier(accepted=["people"]).verify(people.token("posts")).issuer == "people"


def test_keys_of_the_wrong_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="private part"):
        Verifier(json.dumps({"keys": [json.loads(KEYS["GATEWAY_SIGNING_KEY"])]}), "posts")
    public = json.loads(KEYS["VERIFICATION_KEYS"])["keys"][0]
    with pytest.raises(ValueError, match="no private part"):
        Signer(json.dumps(public), "gateway")
    with pytest.raises(ValueError, match="names no issuer"):
        Verifier(json.dumps({"keys": [public | {"kid": "gateway"}]}), "posts")
    exchange = OKPKey.generate_key("X25519", {"kid": "gateway-1"}).as_dict(private=False)
    with pytest.raises(ValueError, match="not for Ed25519"):
        Verifier(json.dumps({"keys": [exchange]}), "posts")


class Clock:
    """A fake of the module `time`."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(identity, "time", clock)
    return clock


def test_token_is_reused_until_its_last_ten_seconds(clock: Clock) -> None:
    signer, person = Signer(KEYS["GATEWAY_SIGNING_KEY"], "gateway"), uuid4()
    first = signer.token("posts", person, ["author", "reader"])
    clock.now += 50
    assert signer.token("posts", person, ["reader", "author"]) == first
    clock.now += 0.5
    second = signer.token("posts", person, ["author", "reader"])
    assert second != first
    assert verifier().verify(second).person_id == person


def test_token_is_reused_only_for_equal_claims() -> None:
    signer, person = Signer(KEYS["GATEWAY_SIGNING_KEY"], "gateway"), uuid4()
    tokens = [
        signer.token("posts", person),
        signer.token("comments", person),
        signer.token("posts"),
        signer.token("posts", person, ["admin"]),
        signer.token("posts", uuid4()),
        signer.token("posts", person, ttl=30),
    ]
    assert len(set(tokens)) == len(tokens)


def test_token_of_a_session_is_always_new(clock: Clock) -> None:
    people, person, session = Signer(KEYS["PEOPLE_SIGNING_KEY"], "people"), uuid4(), uuid4()
    first = people.token("posts", person, ttl=900, session_id=session)
    clock.now += 5
    second = people.token("posts", person, ttl=900, session_id=session)
    assert first != second
    assert verifier(longest=900).verify(second).session_id == session
    with pytest.raises(Problem, match="invalid-token"):
        verifier().verify(second)


def test_verified_token_is_cached_until_it_expires(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    checks = verifier()
    token = fresh_signer().token("posts")
    checks.verify(token)
    monkeypatch.setattr(checks, "_check", None)
    assert checks.verify(token) == Caller("gateway"), "without checking the signature again"
    clock.now += 60
    monkeypatch.undo()
    monkeypatch.setattr(identity, "time", clock)
    with pytest.raises(Problem, match="invalid-token"):
        checks.verify(token)


def fresh_signer() -> Signer:
    """Return a signer whose cache has no tokens of another clock."""
    return Signer(KEYS["GATEWAY_SIGNING_KEY"], "gateway")


def test_caches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "CACHE_SIZE", 3)
    signer, checks = Signer(KEYS["GATEWAY_SIGNING_KEY"], "gateway"), verifier()
    for _ in range(10):
        checks.verify(signer.token("posts", uuid4()))
    assert len(signer._issued) == 3 == len(checks._verified)


def test_generated_keys_differ_in_every_run() -> None:
    other = generate_keys()
    assert set(other) == {
        *("GATEWAY_SIGNING_KEY", "NOTIFY_SIGNING_KEY", "OPERATOR_SIGNING_KEY", "PEOPLE_SIGNING_KEY"),
        *("VERIFICATION_KEYS", "NOTIFY_SECRET"),
    }
    assert not set(other.values()) & set(KEYS.values())
    public = json.loads(other["VERIFICATION_KEYS"])["keys"]
    assert [key["kid"] for key in public] == ["gateway-1", "notify-1", "operator-1", "people-1"]
    assert all("d" not in key for key in public)
    assert len(other["NOTIFY_SECRET"]) >= 43
