"""Make and compare strong entity tags: `"<version>-<digest>"` (RFC 9110, section 8.8.3).

The version is the resource's own, for `If-Match`; the digest covers the bytes that are sent, so that a changed name or
count gives another tag. After a restore of its owner the digest begins with the epoch, because versions are used again.
"""

import re
from hashlib import blake2b

TAG = re.compile(r'(?:W/)?("[^"]*")')


def entity_tag(version: int, content: bytes, epoch: int = 0) -> str:
    """Return the tag of a representation in these bytes; lists and what else has no version have version 0."""
    digest = blake2b(content, digest_size=12).hexdigest()
    return f'"{version}-e{epoch}-{digest}"' if epoch else f'"{version}-{digest}"'


def retagged(tag: str, content: bytes) -> str:
    """Return the tag of another representation of the same thing, in these bytes."""
    return f'{tag.rpartition("-")[0]}-{blake2b(content, digest_size=12).hexdigest()}"'


def matches(if_none_match: str | None, tag: str) -> bool:
    """Return whether a client that sent this `If-None-Match` already has the tag's bytes; comparison is weak."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or tag in TAG.findall(if_none_match)
