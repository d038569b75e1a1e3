"""Name clients without their addresses: keyed hashes that change every day."""

import hashlib
import time
from collections.abc import Callable

DAY = 86_400


class Pseudonyms:
    """Pseudonyms of one gateway; equal for all gateways that have its secret.

    Args:
        clock: the time in seconds since 1970.
    """

    def __init__(self, secret: str, clock: Callable[[], float] = time.time) -> None:
        self._secret = hashlib.sha256(secret.encode()).digest()
        self._clock = clock

    def of(self, identity: str) -> str:
        """Return today's pseudonym of an IP, a network or an e-mail address."""
        day = int(self._clock() // DAY).to_bytes(8, "big")
        return hashlib.blake2b(identity.encode(), key=self._secret, salt=day, digest_size=16).hexdigest()
