"""Show signed-in readers what is kept, with what is their own in it.

A reader is shown it who has not written lately, and whose own comments there are visible ones: they stand in it
already, and their author also gets the text as it was typed. Everybody else's reads are for the owner.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import orjson

from services.chassis.client.client import within
from services.chassis.errors import Problem
from services.gateway.access.authentication import Authentication, Viewer
from services.gateway.access.recent_writers import RecentWriters
from services.gateway.caching.entry import Entry, with_body
from services.gateway.composition.own_comments import OwnComments, OwnText
from services.gateway.composition.upstreams import Upstreams

ELSEWHERE, GONE = -1, -2  # instead of a position: the comment is on another page, or is a tombstone
MOST_PLACES = 100  # that are remembered of an entry: more would be a part of its size that nobody counts
MOST_BYTES = 1024 * 1024  # of an answer with texts in it; a longer one ends early, and its owner knows where


@dataclass(frozen=True)
class Readers:
    """Who is signed in, who wrote lately, and what is whose below which post."""

    authentication: Authentication
    recent_writers: RecentWriters
    own_comments: OwnComments
    upstreams: Upstreams
    read_seconds: float

    async def recall(self, authorization: bytes) -> Viewer | None:
        """Return the person who sends this `Authorization`; None where it is not known, or they wrote lately."""
        viewer = self.authentication.recall_reader(authorization.decode("latin-1"))
        if viewer is None or viewer.person_id is None or await self.recent_writers.wrote_lately(viewer.person_id):
            return None
        return viewer

    async def view(self, viewer: Viewer, entry: Entry) -> Entry | None:
        """Return what everybody sees as this person sees it, who moderates nothing; None if the owner must be asked."""
        texts: list[OwnText] = []
        if entry.own_below is None:
            return None
        for post_id in entry.own_below:
            try:
                own = await self.own_comments.below(self.upstreams, viewer.caller, post_id, within(self.read_seconds))
            except Problem:
                return None
            if own is None:
                return None
            texts += own
        theirs = entry.private
        return with_own_texts(theirs, texts) if theirs is not None and texts else theirs


def with_own_texts(entry: Entry, texts: Iterable[OwnText]) -> Entry | None:
    """Return the entry with these texts where its comments have them, as comments represents them to their author.

    None if one of them does not stand there as a visible comment, so that one of both is older.
    """
    body, pieces = entry.body, list[tuple[int, bytes]]()
    if len(body) > MOST_BYTES:
        return None
    for own in texts:
        at = entry.places.get(own.comment_id)
        if at is None:
            at = _place(body, own.comment_id)
            if len(entry.places) < MOST_PLACES:
                entry.places[own.comment_id] = at
        if at == GONE:
            return None
        if at != ELSEWHERE:
            pieces.append((at, b',"body":%s,"format":%s' % (orjson.dumps(own.body), orjson.dumps(own.format))))
    if not pieces:
        return entry
    whole, end = list[bytes](), 0
    for at, piece in sorted(pieces):
        whole += (body[end:at], piece)
        end = at
    return with_body(entry, b"".join((*whole, body[end:])))


def _place(body: bytes, comment_id: str) -> int:
    """Return where the text of a comment belongs, `ELSEWHERE` or `GONE`.

    Nothing that somebody wrote looks like what is sought: in the JSON of a text there is a backslash before each quote.
    """
    begin = body.find(b'{"id":"%s","post_id":' % comment_id.encode())
    if begin < 0:
        return ELSEWHERE
    is_gone = body.startswith(b',"author":null', body.index(b',"author":', begin))
    return GONE if is_gone else body.index(b',"body_html":', begin)
