"""Which language a page is in."""

from typing import Any

import pytest

from services.gateway.language_choice import LanguageMiddleware, choose
from services.gateway.languages import LANGUAGES, current

EN, DE, AR = LANGUAGES["en"], LANGUAGES["de"], LANGUAGES["ar"]


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        ("", EN),
        ("de", DE),
        ("DE-at", DE),
        ("ar-EG,ar;q=0.9,en;q=0.8", AR),
        ("fr, de;q=0.5", DE),
        ("en;q=0.3, de;q=0.7, ar;q=0.5", DE),
        ("de, ar", DE),
        ("de;q=0, ar;q=0.1", AR),
        ("fr;q=1, *;q=0.5", EN),
        ("*, de", EN),
        ("fr-FR, tlh", EN),
        ("de;q=2, ar", AR),
        ("german please; q=high,,;,ar", AR),
        ("x" * 300 + ",de", EN),
    ],
)
def test_accept_language_names_what_is_wanted_most(accepted: str, chosen: object) -> None:
    assert choose(accepted.encode(), b"", EN) is chosen


@pytest.mark.parametrize(
    ("cookies", "chosen"),
    [
        ("lang=ar", AR),
        ("theme=dark; lang=ar; x=y", AR),
        ("lang=fr", DE),
        ("slang=ar", DE),
        ("lang=ar-EG", DE),
        ('x="; lang=en"; lang=ar', AR),
        ("", DE),
    ],
)
def test_the_cookie_comes_before_what_the_browser_wants(cookies: str, chosen: object) -> None:
    assert choose(b"de", cookies.encode(), EN) is chosen


async def test_the_site_speaks_its_own_language_to_programs_and_english_in_the_api() -> None:
    said: dict[str, str] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        said[scope["path"]] = current().code

    layer = LanguageMiddleware(app, DE)
    for path in ("/posts/x", "/feed.atom", "/robots.txt", "/v1/posts"):
        headers = [(b"accept-language", b"fr"), (b"accept-language", b"ar;q=0.5")]
        await layer({"type": "http", "path": path, "raw_path": path.encode(), "headers": headers}, None, None)  # type: ignore[arg-type]
    assert said == {"/posts/x": "ar", "/feed.atom": "de", "/robots.txt": "de", "/v1/posts": "en"}
    assert current() is EN
