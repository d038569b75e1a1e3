"""Identity: short-lived signed tokens between services, and access tokens of people.

A token is a JWT (RFC 7519) signed with EdDSA over Ed25519, named by its fully specified identifier `Ed25519`
(RFC 9864). The token does not choose how it is verified: the algorithm is fixed, the key comes from a dictionary by
`kid`, and a `kid` belongs to one issuer (`<issuer>-<anything>`).
"""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cachetools import LRUCache
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from services.chassis.errors import Problem
from services.chassis.runtime.telemetry import SIGNING_KEY, VERIFICATION_KEY

ALGORITHM = "Ed25519"
ANONYMOUS = "anonymous"
HEADER_NAMES = {"alg", "kid", "typ"}
MAX_TOKEN_LENGTH = 4096
CACHE_SIZE = 10_000
CALL_SECONDS = 60  # the life of a token between services
SKEW = 10  # seconds of clock difference between machines; a token is not reused in its last ten


@dataclass(frozen=True)
class Caller:
    """The caller of a request: the service that signed the token, and the person the call is made for.

    Attributes:
        issuer: the service that signed the token.
        person_id: the person the call is made for; None for an anonymous caller.
        session_id: the session an access token belongs to; None between services.
    """

    issuer: str
    person_id: UUID | None = None
    roles: frozenset[str] = frozenset()
    session_id: UUID | None = None

    def require_person(self) -> UUID:
        """Return the person the call is made for.

        Raises:
            Problem: `sign-in-required` for an anonymous caller.
        """
        if self.person_id is None:
            raise Problem("sign-in-required")
        return self.person_id


def issuer_of(kid: str) -> str:
    """Return the issuer that a key id belongs to."""
    return kid.rpartition("-")[0]


class Signer:
    """Signs tokens with the service's own key.

    Args:
        key_json: the private Ed25519 JSON Web Key (RFC 8037) with its `kid`.

    Raises:
        ValueError: the key is of another kind, or its `kid` belongs to another issuer.
    """

    def __init__(self, key_json: str, issuer: str) -> None:
        self.issuer = issuer
        self._key = private_key(key_json, issuer)
        self._header = {"alg": ALGORITHM, "kid": self._key.kid, "typ": "JWT"}
        SIGNING_KEY.labels(self._key.kid, self._key.thumbprint()).set(1)
        self._issued: LRUCache[tuple[str, UUID | None, frozenset[str], int], tuple[str, float]] = LRUCache(CACHE_SIZE)

    def token(
        self,
        audience: str,
        person_id: UUID | None = None,
        roles: Iterable[str] = (),
        ttl: int = CALL_SECONDS,
        session_id: UUID | None = None,
    ) -> str:
        """Return a token for one audience, valid for up to `ttl` seconds.

        A token is reused while it has at least ten seconds left, or half its lifetime if that is less. A token of a
        session is always new, because its lifetime is reported to the client.
        """
        now = time.time()
        granted = frozenset(roles)
        key = (audience, person_id, granted, ttl)
        if session_id is None:
            issued = self._issued.get(key)
            if issued is not None and issued[1] - now >= min(SKEW, ttl / 2):
                return issued[0]
        expires = int(now) + ttl
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "aud": audience,
            "sub": str(person_id) if person_id else ANONYMOUS,
            "iat": int(now),
            "exp": expires,
        }
        if granted:
            claims["roles"] = sorted(granted)
        if session_id is not None:
            claims["sid"] = str(session_id)
        payload = json.dumps(claims, separators=(",", ":"))
        token = jws.serialize_compact(dict(self._header), payload, self._key, algorithms=[ALGORITHM])
        if session_id is None:
            self._issued[key] = token, float(expires)
        return token


class Verifier:
    """Verifies tokens of one audience.

    Args:
        keys_json: the public JSON Web Key Set of every issuer.
        longest: the most seconds of lifetime a token may have left.
        accepted: the services whose tokens are accepted; None for every issuer with a key.

    Raises:
        ValueError: a key is not a public Ed25519 key with a `kid` of the form `<issuer>-<anything>`.
    """

    def __init__(
        self, keys_json: str, audience: str, *, longest: int = CALL_SECONDS, accepted: Iterable[str] | None = None
    ) -> None:
        self.audience = audience
        self._longest = longest
        self._accepted = None if accepted is None else frozenset(accepted)
        self._keys = {}
        for entry in json.loads(keys_json)["keys"]:
            key = _import(entry)
            kid = str(key.kid or "")
            if key.is_private:
                raise ValueError(f"the verification key {kid} has a private part")
            if not issuer_of(kid):
                raise ValueError(f"the key id {kid!r} names no issuer")
            self._keys[kid] = key
            VERIFICATION_KEY.labels(kid, key.thumbprint()).set(1)
        self._verified: LRUCache[str, tuple[Caller, float]] = LRUCache(CACHE_SIZE)

    def verify(self, token: str) -> Caller:
        """Return the caller named by the token.

        Raises:
            Problem: `invalid-token`, without the reason.
        """
        now = time.time()
        verified = self._verified.get(token)
        if verified is not None:
            if verified[1] > now:
                return verified[0]
            del self._verified[token]
        try:
            caller, expires = self._check(token, now)
        except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise Problem("invalid-token") from None
        self._verified[token] = caller, expires
        return caller

    def recall(self, token: str) -> Caller | None:
        """Return the caller of a token that was verified before and is still valid."""
        verified = self._verified.get(token)
        return verified[0] if verified is not None and verified[1] > time.time() else None

    def _check(self, token: str, now: float) -> tuple[Caller, float]:
        if len(token) > MAX_TOKEN_LENGTH:
            raise ValueError("too long")
        signature = jws.extract_compact(token.encode("ascii"))
        header = signature.headers()
        if set(header) != HEADER_NAMES or header["alg"] != ALGORITHM or header["typ"] != "JWT":
            raise ValueError("header")
        kid = header["kid"]
        if not jws.validate_compact(signature, self._keys[kid], [ALGORITHM]):
            raise ValueError("signature")
        claims = json.loads(signature.payload)
        issuer, expires, issued = claims["iss"], claims["exp"], claims["iat"]
        if issuer != issuer_of(kid) or (self._accepted is not None and issuer not in self._accepted):
            raise ValueError("issuer")
        if claims["aud"] != self.audience:
            raise ValueError("audience")
        if type(expires) is not int or type(issued) is not int:
            raise ValueError("times")
        if not now < expires <= now + self._longest + SKEW or issued > now + SKEW:
            raise ValueError("times")
        subject, roles, session = claims["sub"], claims.get("roles", []), claims.get("sid")
        if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
            raise ValueError("roles")
        caller = Caller(
            issuer=issuer,
            person_id=None if subject == ANONYMOUS else UUID(subject),
            roles=frozenset(roles),
            session_id=None if session is None else UUID(session),
        )
        return caller, float(expires)


def _import(entry: dict[str, Any]) -> OKPKey:
    try:
        key = OKPKey.import_key(entry)
    except JoseError as error:
        raise ValueError("not a JSON Web Key for Ed25519") from error
    if key.curve_name != "Ed25519":
        raise ValueError(f"the key {key.kid} is not for Ed25519")
    return key


def private_key(key_json: str, issuer: str) -> OKPKey:
    """Return a private key of this issuer.

    Raises:
        ValueError: the key is of another kind, or its `kid` belongs to another issuer.
    """
    key = _import(json.loads(key_json))
    if not key.is_private:
        raise ValueError("the signing key has no private part")
    if issuer_of(str(key.kid)) != issuer:
        raise ValueError(f"the key {key.kid} is not one of {issuer}")
    return key


def generate_key(issuer: str, name: str = "1") -> tuple[str, dict[str, Any]]:
    """Return a new private key of the issuer as JSON, and its public part for the set of verification keys.

    Args:
        name: what its `kid` has behind the issuer; without a hyphen.
    """
    key = OKPKey.generate_key("Ed25519", {"kid": f"{issuer}-{name}"}, private=True)
    return json.dumps(key.as_dict(private=True), separators=(",", ":")), key.as_dict(private=False)
