"""Recognise failures of Valkey, and bound how long it is waited for.

A Valkey that answers and refuses our settings gets a sentence that names the variable.
"""

from urllib.parse import urlsplit

from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError

from services.chassis.runtime.tls_faults import speaks_tls, tls_fault

# Answers that are errors, lost connections and timeouts (an OSError), and uvloop's RuntimeError of a closed transport.
AWAY = (RedisError, OSError, RuntimeError)
ANSWER_SECONDS = 0.25  # for which an answer is waited for; nobody waits longer for what Valkey only makes better
AWAY_SECONDS = 2.0  # for which Valkey is left alone after a failure
CLOSE_SECONDS = 2.0  # for which its questions are waited for at the end


async def valkey_fault(error: BaseException, url: str) -> str | None:
    """Return the sentence about a question that failed; None if Valkey is only away.

    Args:
        url: the address that was asked. It may be asked once more: who has TLS and who has none do not understand each
            other, so one hangs up and the other waits.
    """
    fault = tls_fault(error)
    if fault is not None:
        setting = "REDIS_CA_FILE" if "not trusted" in fault else "REDIS_URL"
        return f"Valkey {fault}: check {setting}"
    if isinstance(error, AuthenticationError | NoPermissionError):
        return "Valkey does not accept the name and password: check REDIS_URL"
    if isinstance(error, ResponseError) and "DB index" in str(error):
        return "Valkey has no database of this number: check REDIS_URL"
    address = urlsplit(url)
    encrypted = address.scheme == "rediss"
    if address.hostname is None or encrypted != isinstance(error, TimeoutError):
        return None
    speaks = await speaks_tls(address.hostname, address.port or 6379)
    if encrypted and speaks is False:
        return "Valkey takes the connection and does not answer in TLS: check REDIS_URL (redis:// without TLS)"
    if speaks and not encrypted:
        return "Valkey speaks TLS: check REDIS_URL (rediss:// with TLS)"
    return None
