"""What is wrong with a connection's TLS, in words for the operator."""

import ssl
from collections.abc import Iterator

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
        error = error.__cause__ or error.__context__
