"""Unsubscribe tokens and message ids, derived with notify's secret. Neither holds an address."""

import base64
import binascii
import hashlib
import hmac
from uuid import UUID

import itsdangerous


class Tokens:
    """Makes and reads tokens and ids.

    Args:
        secret: `NOTIFY_SECRET`. Another one makes all earlier unsubscribe links void and cuts mail threads.
        domain: the part of a message id behind the `@`.

    Raises:
        ValueError: the secret is too short to be one.
    """

    def __init__(self, secret: str, domain: str) -> None:
        if len(secret) < 32:
            raise ValueError("NOTIFY_SECRET must have at least 32 characters")
        self._unsubscribe = itsdangerous.Signer(
            secret, salt="rapport.notify.unsubscribe", key_derivation="hmac", digest_method=hashlib.sha256
        )
        self._message_key = hmac.digest(secret.encode(), b"rapport.notify.message-id", "sha256")
        self._domain = domain

    def unsubscribe(self, person_id: UUID) -> str:
        """Return the token that stops notification mail to one person, and does nothing else. It never expires."""
        return self._unsubscribe.sign(base64.urlsafe_b64encode(person_id.bytes).rstrip(b"=")).decode()

    def person(self, token: str) -> UUID | None:
        """Return whose token it is, or None if it was not made here."""
        try:
            signed = self._unsubscribe.unsign(token.encode())
            return UUID(bytes=base64.urlsafe_b64decode(signed + b"=="))
        except (itsdangerous.BadSignature, UnicodeEncodeError, binascii.Error, ValueError):
            return None

    def message_id(self, kind: str, subject: UUID, person_id: UUID) -> str:
        """Return the `Message-ID` of the mail about a subject to one person: always the same, and not to be guessed.

        `kind` is `comment`, or `post` for the root of a thread, which no mail has but all of them refer to.
        """
        text = f"{kind} {subject} {person_id}".encode()
        mac = hmac.digest(self._message_key, text, "sha256")[:12].hex()
        return f"<{kind}.{subject.hex}.{mac}@{self._domain}>"
