"""Identity: the short signed tokens of services, and the access tokens of people.

A token is a JWT (RFC 7519) signed with EdDSA over Ed25519, named by its fully specified identifier `Ed25519`
(RFC 9864). Nothing in the token chooses how it is checked: the algorithm is fixed, the key comes from a dictionary by
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

ALGORITHM = "Ed25519"
ANONYMOUS = "anonymous"
HEADER_NAMES = {"alg", "kid", "typ"}
LONGEST_TOKEN = 4096
REMEMBERED = 10_000
SKEW = 10  # seconds by which the clocks of two machines may differ; a token is not re-used in its last ten


@dataclass(frozen=True)
class Caller:
    """The caller of a request: the service that signed the token, and the person it speaks for.

    Attributes:
        issuer: the service that signed the token.
        person_id: the person it speaks for; None for nobody.
        session_id: the session an access token belongs to; None between services.
    """

    issuer: str
    person_id: UUID | None = None
    roles: frozenset[str] = frozenset()
    session_id: UUID | None = None

    def require_person(self) -> UUID:
        """Return the person the call speaks for.

        Raises:
            Problem: `sign-in-required` when it speaks for nobody.
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
        ValueError: the key is not such a key, or its `kid` belongs to another issuer.
    """

    def __init__(self, key_json: str, issuer: str) -> None:
        self.issuer = issuer
        self._key = _import(json.loads(key_json))
        if not self._key.is_private:
            raise ValueError("the signing key has no private part")
        if issuer_of(str(self._key.kid)) != issuer:
            raise ValueError(f"the key {self._key.kid} is not one of {issuer}")
        self._header = {"alg": ALGORITHM, "kid": self._key.kid, "typ": "JWT"}
        self._made: LRUCache[tuple[str, UUID | None, frozenset[str], int], tuple[str, float]] = LRUCache(REMEMBERED)

    def token(
        self,
        audience: str,
        person_id: UUID | None = None,
        roles: Iterable[str] = (),
        ttl: int = 60,
        session_id: UUID | None = None,
    ) -> str:
        """Return a token for one callee that lives up to `ttl` seconds.

        The same token is given again while it has at least ten seconds left, or half its life if that is less;
        a token of a session is always fresh, because somebody was told how long it lives.
        """
        now = time.time()
        granted = frozenset(roles)
        key = (audience, person_id, granted, ttl)
        if session_id is None:
            made = self._made.get(key)
            if made is not None and made[1] - now >= min(SKEW, ttl / 2):
                return made[0]
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
            self._made[key] = token, float(expires)
        return token


class Verifier:
    """Checks tokens that are meant for one audience.

    Args:
        keys_json: the public JSON Web Key Set of every issuer.
        longest: seconds a token may have left; a longer one is refused whoever signed it.
        accepted: whose tokens are accepted here; None for everybody who has a key.

    Raises:
        ValueError: a key is not a public Ed25519 key with a `kid` of the form `<issuer>-<anything>`.
    """

    def __init__(
        self, keys_json: str, audience: str, *, longest: int = 60, accepted: Iterable[str] | None = None
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
        self._verified: LRUCache[str, tuple[Caller, float]] = LRUCache(REMEMBERED)

    def verify(self, token: str) -> Caller:
        """Return the caller that the token names.

        Raises:
            Problem: `invalid-token`, without saying why.
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

    def _check(self, token: str, now: float) -> tuple[Caller, float]:
        if len(token) > LONGEST_TOKEN:
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


def generate_key(issuer: str) -> tuple[str, dict[str, Any]]:
    """Return a fresh private key of the issuer as JSON, and its public part for the set of verification keys."""
    key = OKPKey.generate_key("Ed25519", {"kid": f"{issuer}-1"}, private=True)
    return json.dumps(key.as_dict(private=True), separators=(",", ":")), key.as_dict(private=False)
