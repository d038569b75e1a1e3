"""The site's own name, tagline, footer, imprint and privacy page, by settings alone."""

from collections.abc import AsyncIterator
from pathlib import Path

import feedparser  # type: ignore[import-untyped]
import pytest
from pydantic import ValidationError

from services.gateway.pages.render import show_site
from services.gateway.settings import GatewaySettings
from services.gateway.site import LARGEST_PAGE, Site
from tests.integration.gateway_harness import ID, SLUG, NewHarness, harnesses


@pytest.fixture
async def make(keys: dict[str, str], redis_url: str) -> AsyncIterator[NewHarness]:
    async with harnesses(keys, redis_url) as make:
        yield make
    show_site(Site())


async def test_every_page_says_whose_site_it_is(make: NewHarness, tmp_path: Path) -> None:
    imprint = tmp_path / "imprint.md"
    imprint.write_text("Ada *Lovelace*\n\n<script>alert(1)</script>")
    harness = await make(
        site_name="Beans & <Peas>",
        site_tagline="Of gardens",
        site_footer="All rights grow.",
        site_imprint_file=str(imprint),
    )
    for path in ("/", f"/posts/{SLUG}", "/sign-in", "/no-such-page", "/imprint"):
        page = (await harness.get(path)).text
        assert "Beans &amp; &lt;Peas&gt;</bdi></a>" in page
        assert "Of gardens" in page
        assert "All rights grow." in page
        assert '<a href="/imprint">' in page
        assert '<a href="/privacy">' not in page
        assert "Rapport" not in page
    shown = (await harness.get("/imprint")).text
    assert "<em>Lovelace</em>" in shown
    assert "<script>" not in shown
    assert (await harness.get("/privacy")).status_code == 404


async def test_feeds_and_the_api_name_the_site(make: NewHarness) -> None:
    harness = await make(site_name="Beans", site_tagline="Of gardens")
    harness.services.posts.on("POST", "/posts/texts/lookup", {"items": []})
    feed = feedparser.parse((await harness.get("/feed.atom")).content).feed
    assert (feed.title, feed.subtitle) == ("Beans", "Of gardens")
    harness.services.comments.on("GET", f"/posts/{ID}/newest", {"items": []})
    assert feedparser.parse((await harness.get(f"/posts/{SLUG}/feed.atom")).content).feed.title.endswith(" · Beans")
    answer = await harness.get("/v1/site")
    assert answer.json() == {
        "name": "Beans", "tagline": "Of gardens", "url": "http://rapport.test", "picture_url": None,
        "language": "en", "languages": ["en", "de", "ar"],
    }  # fmt: skip
    assert (await harness.get("/v1/site", **{"If-None-Match": answer.headers["etag"]})).status_code == 304


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("site_name", "", "at least 1 character"),
        ("site_name", "\u200b", "shows nothing"),
        ("site_name", "x" * 101, "at most 100"),
        ("site_imprint_file", "/no/such/file", "cannot be read"),
        ("site_privacy_file", b"\xff", "not text in UTF-8"),
        ("site_privacy_file", b"x" * (LARGEST_PAGE + 1), "more than 64 KiB"),
    ],
)
def test_what_cannot_be_shown_is_refused_at_the_start(
    keys: dict[str, str], tmp_path: Path, name: str, content: str | bytes, says: str
) -> None:
    value = content
    if isinstance(content, bytes):
        (tmp_path / "page.md").write_bytes(content)
        value = str(tmp_path / "page.md")
    with pytest.raises(ValidationError, match=says):
        GatewaySettings(gateway_signing_key=keys["GATEWAY_SIGNING_KEY"], **{name: value})  # type: ignore[arg-type]
