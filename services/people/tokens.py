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
        signing_key: `PEOPLE_SIGNING_KEY`. After a change codes that are under way end; links go on.

    Raises:
        ValueError: there is no key.
    """

    def __init__(self, signing_key: str) -> None:
        if not signing_key:
            raise ValueError("PEOPLE_SIGNING_KEY is not set; the codes of sign-in mails are derived from it")
        self._key = hmac.digest(signing_key.encode(), b"rapport.people.sign-in", "sha256")

    def code(self, public_id: str) -> str:
        """Return the code that the mail of a request holds: 8 digits."""
        number = int.from_bytes(self._derive("code", public_id.encode()))
        return f"{number % 10**CODE_DIGITS:0{CODE_DIGITS}}"

    def is_code(self, public_id: str, typed: str) -> bool:
        """Return whether the code of a request was typed: in digits of any script, perhaps with spaces and hyphens."""
        return hmac.compare_digest(self.code(public_id).encode(), _digits(typed).encode())

    def session(self, link: bytes, nonce: str) -> str:
        """Return the cookie of the session that a browser with this nonce opens by this link (its fingerprint)."""
        return self._secret("session", link, nonce)

    def hand_over(self, link: bytes, nonce: str) -> str:
        """Return the code by which a front end elsewhere fetches the sign-in of this browser by this link."""
        return self._secret("hand-over", link, nonce)

    def _secret(self, purpose: str, link: bytes, nonce: str) -> str:
        return base64.urlsafe_b64encode(self._derive(purpose, link + nonce.encode())).rstrip(b"=").decode()

    def _derive(self, purpose: str, value: bytes) -> bytes:
        return hmac.digest(self._key, f"{purpose} ".encode() + value, "sha256")


def _digits(typed: str) -> str:
    found = (str(unicodedata.decimal(sign, "?")) for sign in typed if unicodedata.category(sign) not in PASSED_OVER)
    return "".join(found)
