"""Codes and secrets of signing in, derived from the key of people, so that they need not be stored.

The same code stands in every retry of a mail, and a button pressed twice gives the same session.
"""

import base64
import hmac
import unicodedata

CODE_DIGITS = 8
PASSED_OVER = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf", "Pd"})  # spaces, hyphens, and what comes along unseen


class Tokens:
    """Derives codes and secrets.

    Args:
        signing_key: `PEOPLE_SIGNING_KEY`, by which new codes and secrets are derived.
        other: `PEOPLE_OTHER_SIGNING_KEY`, if there is one: what was derived by it counts too.

    Raises:
        ValueError: there is no key.
    """

    def __init__(self, signing_key: str, other: str = "") -> None:
        if not signing_key:
            raise ValueError("PEOPLE_SIGNING_KEY is not set; the codes of sign-in mails are derived from it")
        self._key, *self._others = (
            hmac.digest(each.encode(), b"rapport.people.sign-in", "sha256") for each in (signing_key, other) if each
        )

    def code(self, public_id: str) -> str:
        """Return the code that the mail of a request holds: 8 digits."""
        return _code(self._key, public_id)

    def is_code(self, public_id: str, typed: str) -> bool:
        """Return whether the code of a request was typed: in digits of any script, perhaps with spaces and hyphens."""
        digits = _digits(typed).encode()
        return any(hmac.compare_digest(_code(key, public_id).encode(), digits) for key in (self._key, *self._others))

    def session(self, link: bytes, nonce: str) -> str:
        """Return the cookie of the session that a browser with this nonce opens by this link (its fingerprint)."""
        return _secret(self._key, "session", link, nonce)

    def sessions(self, link: bytes, nonce: str) -> list[str]:
        """Return the cookies that `session` may have given a moment ago, by either key."""
        return [_secret(key, "session", link, nonce) for key in (self._key, *self._others)]

    def hand_over(self, link: bytes, nonce: str) -> str:
        """Return the code by which a front end elsewhere fetches the sign-in of this browser by this link."""
        return _secret(self._key, "hand-over", link, nonce)

    def hand_overs(self, link: bytes, nonce: str) -> list[str]:
        """Return the codes that `hand_over` may have given a moment ago, by either key."""
        return [_secret(key, "hand-over", link, nonce) for key in (self._key, *self._others)]


def _code(key: bytes, public_id: str) -> str:
    number = int.from_bytes(_derive(key, "code", public_id.encode()))
    return f"{number % 10**CODE_DIGITS:0{CODE_DIGITS}}"


def _secret(key: bytes, purpose: str, link: bytes, nonce: str) -> str:
    return base64.urlsafe_b64encode(_derive(key, purpose, link + nonce.encode())).rstrip(b"=").decode()


def _derive(key: bytes, purpose: str, value: bytes) -> bytes:
    return hmac.digest(key, f"{purpose} ".encode() + value, "sha256")


def _digits(typed: str) -> str:
    found = (str(unicodedata.decimal(sign, "?")) for sign in typed if unicodedata.category(sign) not in PASSED_OVER)
    return "".join(found)
