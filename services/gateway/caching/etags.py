"""Strong entity tags: `"<version>-<digest>"` (RFC 9110, section 8.8.3).

The version is the thing's own, for `If-Match`; the digest covers the bytes that are sent, so that a changed name or
count gives another tag.
"""

import re
from hashlib import blake2b

TAG = re.compile(r'(?:W/)?("[^"]*")')


def entity_tag(version: int, content: bytes) -> str:
    """The tag of these bytes, which show the thing in this version (0 for lists and what has none)."""
    return f'"{version}-{blake2b(content, digest_size=12).hexdigest()}"'


def matches(if_none_match: str | None, tag: str) -> bool:
    """Whether a client that sent this `If-None-Match` already holds what `tag` names; comparison is weak."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or tag in TAG.findall(if_none_match)
