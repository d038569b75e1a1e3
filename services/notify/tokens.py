"""Unsubscribe tokens and message ids, derived with notify's secret. Neither holds an address."""

import base64
import binascii
import hashlib
import hmac
from uuid import UUID

import itsdangerous

from services.notify.settings import SHORTEST_SECRET


class Tokens:
    """Makes and reads tokens and ids.

    Args:
        secret: `NOTIFY_SECRET`. A new one makes all earlier unsubscribe links invalid, and starts new mail threads.
        domain: the part of a message id behind the `@`.

    Raises:
        ValueError: the secret is shorter than `SHORTEST_SECRET`.
    """

    def __init__(self, secret: str, domain: str) -> None:
        if len(secret) < SHORTEST_SECRET:
            raise ValueError(f"NOTIFY_SECRET must have at least {SHORTEST_SECRET} characters")
        self._unsubscribe = itsdangerous.Signer(
            secret, salt="rapport.notify.unsubscribe", key_derivation="hmac", digest_method=hashlib.sha256
        )
        self._message_key = hmac.digest(secret.encode(), b"rapport.notify.message-id", "sha256")
        self._domain = domain

    def unsubscribe(self, person_id: UUID) -> str:
        """Return the token that turns off notification mail to one person. It never expires."""
        return self._unsubscribe.sign(base64.urlsafe_b64encode(person_id.bytes).rstrip(b"=")).decode()

    def person(self, token: str) -> UUID | None:
        """Return the person of an unsubscribe token, or None for a token that was not made here."""
        try:
            signed = self._unsubscribe.unsign(token.encode())
            return UUID(bytes=base64.urlsafe_b64decode(signed + b"=="))
        except (itsdangerous.BadSignature, UnicodeEncodeError, binascii.Error, ValueError):
            return None

    def message_id(self, kind: str, subject: UUID, person_id: UUID) -> str:
        """Return the `Message-ID` of the mail about a subject to one person: always the same, and unguessable.

        `kind` is `comment`; or `post` for the root of a thread, which all its mails refer to although no mail has it.
        """
        text = f"{kind} {subject} {person_id}".encode()
        mac = hmac.digest(self._message_key, text, "sha256")[:12].hex()
        return f"<{kind}.{subject.hex}.{mac}@{self._domain}>"
