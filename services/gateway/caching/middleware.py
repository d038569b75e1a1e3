"""Serve what is the same for every anonymous reader from the cache, ahead of routing (pure ASGI).

What the cache does not have is asked of the app once, for all who ask at the same time. What it has, our own server
finds here and sends without calling the app. People who are signed in are served discussions from it too: those who
moderate see what is the same for all moderators, the others what everybody sees, with their own texts, and those who
have more of their own there what is kept for them alone (ADR 57).
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.chassis.http.access_log import note_path
from services.chassis.http.ready_answers import Headers, ReadyAnswer
from services.chassis.http.request_middleware import REQUEST_ID
from services.chassis.runtime.metrics import Counter
from services.contracts.people import is_moderator
from services.gateway.access.authentication import Viewer
from services.gateway.access.rate_limits import READ_FOR
from services.gateway.caching.cacheable import SCOPE_KEY, CacheOffer
from services.gateway.caching.entry import Entry
from services.gateway.caching.readers import Readers
from services.gateway.caching.response_cache import ResponseCache
from services.gateway.caching.serving import entry_of, ready, serve
from services.gateway.language_choice import choose, varies_by_language
from services.gateway.languages import LANGUAGES, SOURCE, Language

REQUESTS = Counter("rapport_gateway_cache", "Reads that may be kept, by whether the cache had them", ["outcome"])

PATHS = re.compile(
    rb"/(?:posts/|v1/(?:posts|comments|comment-counts|people|tags)\b|feed\.atom|sitemap|tags\b|people/|\?)"
)
QUERY = re.compile(
    rb"(?:(?:cursor|limit|sort|post|status|tag|author|kind|against|from|to|page|comments)=[^&]*(?:&|\Z))*\Z"
)
# What people who are signed in share with strangers; moderators see more of discussions, and of nothing else.
DISCUSSIONS = re.compile(rb"/v1/(?:posts/[^/?]+/comments|comments/[^/?]+(?:/replies)?)\?")
PUBLISHED = re.compile(rb"/v1/(?:posts(?:/[^/?]+)?|tags|comment-counts)\?(?!.*\bstatus=)")
# Before the keys of what they see, as its id is before those of what one person sees; no target begins like this.
MODERATORS = b"moderators "


class Asked(NamedTuple):
    """What a GET says that may be answered from the cache.

    Attributes:
        key: of its answer.
        if_none_match: what its client has.
        request_id: its id, if it brought one.
        authorization: the token of who signed in.
    """

    key: bytes
    if_none_match: bytes | None
    request_id: bytes | None
    authorization: bytes | None


class Answer(NamedTuple):
    """What is known of an answer.

    Attributes:
        entry: the answer; None if only those who asked for it may be given it.
        is_shared: whether it is the same for all who may be given it.
        sent: what the app answered, if it was asked for this very request.
    """

    entry: Entry | None
    is_shared: bool = True
    sent: Sequence[Message] = ()


@dataclass
class Flight:
    """One request to the app, for all that ask for the same meanwhile.

    Attributes:
        began: the cache's `sequence` when it began.
        entry: the answer, if it is the same for all who may be given it.
    """

    began: int
    landed: asyncio.Event = field(default_factory=asyncio.Event)
    entry: Entry | None = None


class CacheMiddleware:
    """The outermost middleware: around `ResponseHeaders`, so that a cached answer has its headers already.

    Args:
        cookie_name: requests with our cookie are for one person, and go to the app.
        host: our own `Host`, if pages opened by another name are led there: those requests go to the app too, and the
            API, which leads nobody, is cached under every name.
        language: of pages for browsers that want none of ours.
        readers: who is signed in by a token; None sends all of them to the app.
        others: the app for what is no GET.
    """

    def __init__(
        self,
        app: ASGIApp,
        cache: ResponseCache,
        cookie_name: str,
        host: bytes | None = None,
        language: Language = LANGUAGES[SOURCE],
        readers: Readers | None = None,
        others: ASGIApp | None = None,
    ) -> None:
        self._app = app
        self._others = others or app
        self._cache = cache
        self._cookie = cookie_name.encode() + b"="
        self._language = language
        self._host = host
        self._readers = readers
        self._flights: dict[bytes, Flight] = {}
        # of the service that is being composed; looking them up for each read would take longer than many a read
        self._hits, self._misses = REQUESTS.labels("hit"), REQUESTS.labels("miss")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._others(scope, receive, send)
            return
        asked = self._read(scope["raw_path"], scope["query_string"], scope["headers"])
        if asked is None or not (PATHS.match(asked.key) and QUERY.match(scope["query_string"])):
            await self._app(scope, receive, send)
            return
        note_path(scope, scope["path"])
        if asked.authorization is None:
            await self._serve_alike(asked.key, CacheOffer(), asked, scope, receive, send)
        elif self._readers is not None and (DISCUSSIONS.match(asked.key) or PUBLISHED.match(asked.key)):
            await self._serve_reader(self._readers, asked, asked.authorization, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _serve_alike(
        self, key: bytes, offer: CacheOffer, asked: Asked, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Serve what is the same for everybody who asks for this key."""
        entry, _, sent = await self._find(key, offer, scope, receive)
        if entry is None:
            await self._app(scope, receive, send)
        elif sent and not (sent[0]["status"] == 200 and entry.etag and asked.if_none_match is not None):
            for message in sent:
                await send(message)
        else:
            request_id = dict(sent[0]["headers"])[b"x-request-id"] if sent else asked.request_id
            await serve(entry, request_id, asked.if_none_match, send)

    async def _serve_reader(
        self, readers: Readers, asked: Asked, authorization: bytes, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Serve a person what everybody sees, with what is their own, or what all moderators see; else ask the app."""
        viewer = await readers.recall(authorization)
        if viewer is None:
            await self._app(scope, receive, send)
            return
        is_discussion = DISCUSSIONS.match(asked.key) is not None
        if is_discussion and is_moderator(viewer.caller.roles):
            offer = CacheOffer(for_moderators=True)
            await self._serve_alike(MODERATORS + asked.key, offer, asked, scope, receive, send)
            return
        answer = await self._find(asked.key, CacheOffer(), as_stranger(scope, viewer), receive)
        view = None
        if answer.entry is not None and answer.is_shared:
            view = await readers.view(viewer, answer.entry)
        if view is not None:
            await serve(view, asked.request_id, asked.if_none_match, send)
        elif is_discussion:
            key = b"%s %s" % (str(viewer.person_id).encode(), asked.key)
            await self._serve_alike(key, CacheOffer(person_id=viewer.person_id), asked, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def find_ready(self, target: bytes, headers: Headers) -> ReadyAnswer | None:
        """Return the answer to a stranger's GET if it is kept; what our server asks before it calls the app."""
        raw_path, _, query = target.partition(b"?")
        asked = self._read(raw_path, query, headers)
        if asked is None or asked.authorization is not None or (entry := self._cache.get(asked.key)) is None:
            return None
        self._hits.inc()
        return ready(entry, asked.request_id, asked.if_none_match)

    def _read(self, raw_path: bytes, query: bytes, headers: Headers) -> Asked | None:
        """Return what a GET says; None for one that only the app answers."""
        if_none_match = request_id = authorization = None
        accepted = cookies = b""
        for name, value in headers:
            if name == b"authorization":
                authorization = value
            elif name == b"host":
                if self._host not in (None, value) and not raw_path.startswith(b"/v1/"):
                    return None
            elif name == b"cookie":
                if self._cookie in value:
                    return None
                cookies = cookies + b";" + value if cookies else value
            elif name == b"accept-language":
                accepted = accepted + b"," + value if accepted else value
            elif name == b"if-none-match":
                if_none_match = value if if_none_match is None else if_none_match + b"," + value
            elif name == b"x-request-id" and REQUEST_ID.match(value):
                request_id = value
        key = raw_path + b"?" + query
        if varies_by_language(raw_path):  # one entry for each of ours, whatever browsers ask for
            key += b"\n" + choose(accepted, cookies, self._language).code.encode()
        return Asked(key, if_none_match, request_id, authorization)

    async def _find(self, key: bytes, offer: CacheOffer, scope: Scope, receive: Receive) -> Answer:
        """Return what is kept, or what the app answers now to one of those who ask for it."""
        entry = self._cache.get(key)
        arrived = self._cache.sequence
        while entry is None:
            flight = self._flights.get(key)
            if flight is None:
                return await self._ask(key, offer, scope, receive)
            await flight.landed.wait()
            if flight.entry is None:
                self._misses.inc()
                return Answer(None)
            # What changed while it was read is not kept, but still true for requests that came before the change.
            entry = flight.entry if flight.began >= arrived else self._cache.get(key)
        self._hits.inc()
        return Answer(entry)

    async def _ask(self, key: bytes, offer: CacheOffer, scope: Scope, receive: Receive) -> Answer:
        """Ask the app for all that ask for the same meanwhile."""
        self._misses.inc()
        flight = self._flights[key] = Flight(self._cache.sequence)
        headers = [header for header in scope["headers"] if header[0] != b"if-none-match"]
        sent: list[Message] = []

        async def keep(message: Message) -> None:
            sent.append(message)

        try:
            await self._app({**scope, "headers": headers, SCOPE_KEY: offer}, receive, keep)
            start, body = sent[0], b"".join(message.get("body", b"") for message in sent[1:])
            entry = entry_of(start, body, offer)
            if offer.tags is not None and start["status"] == 200:
                flight.entry = entry
                self._cache.store(key, entry, flight.began)
        finally:
            del self._flights[key]
            flight.landed.set()
        return Answer(entry, flight.entry is not None, sent)


def as_stranger(scope: Scope, viewer: Viewer) -> Scope:
    """Return a request that asks for what everybody sees, and is counted as this person's."""
    headers = [header for header in scope["headers"] if header[0] != b"authorization"]
    return {**scope, "headers": headers, READ_FOR: viewer.person_id}
