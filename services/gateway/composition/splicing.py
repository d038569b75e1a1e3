"""Make a public list of comments from the bytes of the comments service, without reading what stays as it is.

What comes out is what `representations.comment_list` makes, to the byte, in half the time. The service writes what it
adds for itself in one place in each comment, before the id of its author, where the public finds the author.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from services.gateway.composition.representations import Json, author

# Nothing that somebody wrote looks like these: in the JSON of a text there is a backslash before each quote.
FOR_ITSELF = re.compile(rb'"version":\d+,"author_id":(?:null|"([0-9a-f-]{36})"),')
POST_AUTHOR = re.compile(rb',"post_author_id":"([0-9a-f-]{36})"')
NEXT = b',"next":'


@dataclass(frozen=True)
class SplitList:
    """A list of comments as the service sends it.

    Attributes:
        parts: by turns the bytes that stay as they are, and the id of an author, None in a tombstone.
        post_author: what the service says of the author of the post, and the id in it.
        next: where the list goes on.
    """

    parts: list[bytes | None]
    post_author: tuple[bytes, str] | None
    next: str | None

    @property
    def authors(self) -> set[str]:
        """The ids of all authors in it."""
        return {person_id.decode() for person_id in self.parts[1::2] if person_id is not None}

    def with_authors(self, people: Mapping[str, Json]) -> bytes:
        """Return the JSON of the public list."""
        said, post_author = self.post_author or (b"", None)
        fields: dict[bytes | None, bytes] = {None: b'"author":null,'}
        for person_id in self.authors:
            by = {**(author(person_id, people) or {}), "is_post_author": person_id == post_author}
            fields[person_id.encode()] = b'"author":%s,' % orjson.dumps(by)
        pieces = [fields[part] if number % 2 else part or b"" for number, part in enumerate(self.parts)]
        return b"".join(pieces).replace(said, b"") if said else b"".join(pieces)


def split(body: bytes) -> SplitList | None:
    """Return a list as it is sent; None if an older version of the service wrote it, in another order."""
    parts: list[bytes | None] = FOR_ITSELF.split(body)
    if len(parts) == 1 and not body.startswith(b'{"items":[]'):
        return None
    found = POST_AUTHOR.search(body)
    following = orjson.loads(body[body.rindex(NEXT) + len(NEXT) : -1])
    return SplitList(parts, None if found is None else (found[0], found[1].decode()), following)
