"""Choose the language of a page: that of our cookie, else of `Accept-Language`, else the site's."""

import re
from functools import lru_cache

from starlette.types import ASGIApp, Receive, Scope, Send

from services.gateway.languages import LANGUAGES, Language, speaking

COOKIE = "lang"
CHOSEN = re.compile(rb"(?:\A|;) *lang=([a-z]{2,3}) *(?=;|\Z)")
# RFC 9110, section 12.5.4
RANGE = re.compile(
    rb"\s*([A-Za-z]{1,8}|\*)(?:-[A-Za-z0-9-]*)?\s*(?:;\s*[Qq]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\s*)?\Z"
)
MOST_BYTES = 256  # of `Accept-Language` that are read
REMEMBERED = 1_024  # different values of it
UNSPOKEN = (b".atom", b".xml", b".txt")  # for programs: in the site's language, whoever asks


def varies_by_language(raw_path: bytes) -> bool:
    """Return whether what stands at a path is said in the language of who asks."""
    return not raw_path.startswith(b"/v1/") and not raw_path.endswith(UNSPOKEN)


def choose(accepted: bytes, cookies: bytes, default: Language) -> Language:
    """Return the language of a page for a browser that sends these values of `Accept-Language` and `Cookie`."""
    if b"lang=" in cookies:
        found = CHOSEN.search(cookies)
        language = LANGUAGES.get(found[1].decode()) if found else None
        if language is not None:
            return language
    return _accepted(accepted[:MOST_BYTES], default) if accepted else default


@lru_cache(REMEMBERED)
def _accepted(accepted: bytes, default: Language) -> Language:
    """Return the one of our languages that is wanted most, the first of several; the default if none is."""
    best, best_quality = default, 0.0
    for one in accepted.split(b","):
        found = RANGE.match(one)
        if found is None:
            continue
        tag, quality = found[1].decode().lower(), float(found[2] or 1)
        language = default if tag == "*" else LANGUAGES.get(tag)
        if language is not None and quality > best_quality:
            best, best_quality = language, quality
    return best


class LanguageMiddleware:
    """Sets the language of each page, for everything inside (pure ASGI). The API always speaks English.

    Args:
        default: the site's language.
    """

    def __init__(self, app: ASGIApp, default: Language) -> None:
        self._app = app
        self._default = default

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        with speaking(self._language_of(scope)):
            await self._app(scope, receive, send)

    def _language_of(self, scope: Scope) -> Language:
        if not varies_by_language(scope["raw_path"]):
            return self._default
        accepted = b",".join(value for name, value in scope["headers"] if name == b"accept-language")
        cookies = b";".join(value for name, value in scope["headers"] if name == b"cookie")
        return choose(accepted, cookies, self._default)
