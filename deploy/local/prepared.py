"""Whether the servers of a stack have had all that the services need there; `prepare.py` does what is missing.

A start that finds so lets the services start at once, beside a look whether it is still true.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from deploy.local import private
from deploy.local.layout import CHECKOUT, DATABASES, Layout

NEEDED = ("services/*/migrations/*.sql", "services/contracts/broker_rights.py", "services/contracts/topics.py")


def is_done(layout: Layout) -> bool:
    """Return whether these servers have had all that this checkout needs."""
    try:
        return _record(layout).read_text() == _digest(layout)
    except OSError:
        return False


def remember(layout: Layout) -> None:
    """Note that they have it."""
    private.write(_record(layout), _digest(layout))


def forget(layout: Layout) -> None:
    """Let the next start wait, because databases are replaced."""
    _record(layout).unlink(missing_ok=True)


def _record(layout: Layout) -> Path:
    return layout.home / "prepared"


def _digest(layout: Layout) -> str:
    digest = hashlib.sha256()
    for part in (*_files(), *_servers(layout)):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def _files() -> Iterator[bytes]:
    for pattern in NEEDED:
        for file in sorted(CHECKOUT.glob(pattern)):
            yield str(file.relative_to(CHECKOUT)).encode()
            yield file.read_bytes()


def _servers(layout: Layout) -> Iterator[bytes]:
    for service in DATABASES:
        yield (layout.database_given(service) or "").encode()
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "KAFKA_PREFIX"):
        yield (layout.given.get(name) or "").encode()
