"""Unsubscribe tokens and message ids, derived with notify's secret. Neither holds an address."""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from functools import lru_cache, partial
from uuid import UUID

import itsdangerous

from services.chassis.runtime.telemetry import ACCEPTED_SECRET
from services.contracts.secret_numbers import number_of
from services.notify.settings import SHORTEST_SECRET

REMEMBERED = 4_096  # tokens of people, and as many ids: many mails are to the same people, about the same posts
MOST_IDS = 3  # of one mail in References, so that headers stay short after many replacements


class Tokens:
    """Makes and reads tokens and ids.

    Args:
        secret: `NOTIFY_SECRET`, by which new tokens and ids are made.
        domain: the part of a message id behind the `@`.
        others: `NOTIFY_OTHER_SECRETS`, the youngest first: their tokens are read too, and mails refer to their ids too.

    Raises:
        ValueError: the secret is shorter than `SHORTEST_SECRET`.
    """

    def __init__(self, secret: str, domain: str, others: Sequence[str] = ()) -> None:
        if len(secret) < SHORTEST_SECRET:
            raise ValueError(f"NOTIFY_SECRET must have at least {SHORTEST_SECRET} characters")
        for each in (secret, *others):
            ACCEPTED_SECRET.labels(str(number_of(each))).set(1)
        self._unsubscribe, *self._earlier = (_signer(each, "unsubscribe") for each in (secret, *others))
        self._moderation, *self._earlier_moderation = (_signer(each, "moderation") for each in (secret, *others))
        self._message_keys = [
            hmac.digest(each.encode(), b"rapport.notify.message-id", "sha256") for each in (secret, *others)
        ][:MOST_IDS]
        self._feed_key = hmac.digest(secret.encode(), b"rapport.notify.feed", "sha256")
        self._domain = domain
        self._tokens = lru_cache(maxsize=REMEMBERED)(partial(_signed, self._unsubscribe))
        self._ids = lru_cache(maxsize=REMEMBERED)(self._message_id)

    def unsubscribe(self, person_id: UUID) -> str:
        """Return the token that turns off notification mail to one person. It never expires."""
        return self._tokens(person_id)

    def stop_moderation(self, person_id: UUID) -> str:
        """Return the token that turns off the mail which tells one moderator what waits. It never expires."""
        return _signed(self._moderation, person_id)

    def person(self, token: str) -> UUID | None:
        """Return the person of an unsubscribe token, or None for a token that was not made here."""
        return _person((self._unsubscribe, *self._earlier), token)

    def moderator(self, token: str) -> UUID | None:
        """Return the person of a token of `stop_moderation`, or None for any other."""
        return _person((self._moderation, *self._earlier_moderation), token)

    def feed(self, person_id: UUID, key: str | None) -> str:
        """Return a token of 256 bits for the address of a person's feed: the same for the same idempotency key."""
        if key is None:
            return secrets.token_urlsafe(32)
        mac = hmac.digest(self._feed_key, f"{person_id} {key}".encode(), "sha256")
        return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()

    def message_id(self, kind: str, subject: UUID, person_id: UUID) -> str:
        """Return the `Message-ID` of the mail about a subject to one person: unguessable, the same with one secret.

        `kind` is `comment`; `moderation` for a mail that tells a moderator what waits; or `post` for the root of a
        thread, which all its mails refer to although no mail has it.
        """
        return self._ids(self._message_keys[0], kind, subject, person_id)

    def message_ids(self, kind: str, subject: UUID, person_id: UUID) -> list[str]:
        """Return every `Message-ID` that the mail may have been sent under, that of `message_id` last."""
        return [self._ids(key, kind, subject, person_id) for key in reversed(self._message_keys)]

    def _message_id(self, key: bytes, kind: str, subject: UUID, person_id: UUID) -> str:
        mac = hmac.digest(key, f"{kind} {subject} {person_id}".encode(), "sha256")[:12].hex()
        return f"<{kind}.{subject.hex}.{mac}@{self._domain}>"


def _signer(secret: str, purpose: str) -> itsdangerous.Signer:
    return itsdangerous.Signer(
        secret, salt=f"rapport.notify.{purpose}", key_derivation="hmac", digest_method=hashlib.sha256
    )


def _signed(signer: itsdangerous.Signer, person_id: UUID) -> str:
    return signer.sign(base64.urlsafe_b64encode(person_id.bytes).rstrip(b"=")).decode()


def _person(signers: Sequence[itsdangerous.Signer], token: str) -> UUID | None:
    for signer in signers:
        try:
            signed = signer.unsign(token.encode())
            return UUID(bytes=base64.urlsafe_b64decode(signed + b"=="))
        except itsdangerous.BadSignature:
            continue
        except (UnicodeEncodeError, binascii.Error, ValueError):
            return None
    return None
