"""What is wrong with a connection's TLS, in words for the operator."""

import asyncio
import contextlib
import ssl
from collections.abc import Iterator

ANSWER_SECONDS = 1.0
OTHER_NAME = (62, 64)  # of OpenSSL: the certificate is for another host name, or another address


def tls_fault(error: BaseException) -> str | None:
    """Return what is wrong as the predicate of a sentence about the server; None if it is not TLS."""
    for cause in _chain(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            if cause.verify_code in OTHER_NAME:
                return "has a certificate for another name"
            return f"has a certificate that is not trusted ({cause.verify_message})"
        if isinstance(cause, ssl.SSLError):
            return f"does not agree on TLS ({(cause.reason or 'unknown reason').replace('_', ' ').lower()})"
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


async def speaks_tls(host: str, port: int) -> bool | None:
    """Return whether a server speaks TLS; None if nobody is there."""
    anybody = ssl.create_default_context()
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE  # nothing secret is sent to it
    if not await _connects(host, port, None):
        return None
    return await _connects(host, port, anybody)


async def _connects(host: str, port: int, context: ssl.SSLContext | None) -> bool:
    with contextlib.suppress(OSError):  # TimeoutError and SSLError are OSErrors
        async with asyncio.timeout(ANSWER_SECONDS):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
        writer.close()
        return True
    return False
