"""The site's own name, tagline, footer, imprint and privacy page, by settings alone."""

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import feedparser  # type: ignore[import-untyped]
import pytest
from pydantic import ValidationError

from services.chassis.errors import unavailable
from services.gateway.settings import GatewaySettings
from services.gateway.site import LARGEST_PAGE, LARGEST_PICTURE, LARGEST_STYLE
from tests.hostile_pictures import plain
from tests.integration.gateway_harness import ID, POST, SLUG, NewHarness
from tests.unit.gateway_fakes import Call, raw_post


async def test_every_page_says_whose_site_it_is(new_harness: NewHarness, tmp_path: Path) -> None:
    imprint = tmp_path / "imprint.md"
    imprint.write_text("Ada *Lovelace*\n\n<script>alert(1)</script>")
    harness = await new_harness(
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
        assert re.search(r'<link rel="icon" href="(/static/mark-[0-9a-f]{12}.svg)">', page)
        assert "Rapport" not in page
    shown = (await harness.get("/imprint")).text
    assert "<em>Lovelace</em>" in shown
    assert "<script>" not in shown
    assert (await harness.get("/privacy")).status_code == 404


async def test_a_site_without_a_picture_has_its_first_letter_as_its_mark(
    new_harness: NewHarness, tmp_path: Path
) -> None:
    harness = await new_harness(site_name="<Beans>", site_hue=150)
    [path] = re.findall(r'class="mark" src="([^"]+)"', (await harness.get("/")).text)
    for one in (path, "/favicon.ico"):
        mark = await harness.get(one)
        assert (mark.status_code, mark.headers["content-type"]) == (200, "image/svg+xml")
        assert "sandbox" in mark.headers["content-security-policy"]
        letter = ElementTree.fromstring(mark.content).find("{http://www.w3.org/2000/svg}text")  # our own
        assert letter is not None and letter.text == "B"
    assert (await harness.get(path)).headers["cache-control"] == "public, max-age=31536000, immutable"
    assert (await harness.get("/static/mark-000000000000.svg")).status_code == 404
    blue = await new_harness(site_name="<Beans>", site_hue=250)
    assert (await blue.get("/favicon.ico")).content != mark.content
    theme = tmp_path / "theme.css"
    theme.write_text(":root {\n  --hue: 150;\n}\n")
    themed = await new_harness(site_name="<Beans>", site_stylesheet=str(theme))
    assert (await themed.get("/favicon.ico")).content == mark.content


async def test_a_site_has_a_picture_and_a_theme_of_its_own(new_harness: NewHarness, tmp_path: Path) -> None:
    picture, theme = tmp_path / "mark.bin", tmp_path / "theme.css"
    picture.write_bytes(plain(size=(64, 64)))
    theme.write_text(":root { --radius: 0; }")
    harness = await new_harness(site_picture=str(picture), site_stylesheet=str(theme), site_hue=30)
    page = (await harness.get("/")).text
    [mark], styles = re.findall(r'class="mark" src="([^"]+)"', page), re.findall(r'stylesheet" href="([^"]+)"', page)
    shown = await harness.get(mark)
    assert (shown.headers["content-type"], shown.content) == ("image/png", picture.read_bytes())
    assert [path.partition("-")[0] for path in styles] == ["/static/rapport", "/static/theme"]  # the theme comes last
    answer = await harness.get(styles[1])
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert answer.text == ":root { --hue: 30; }\n:root { --radius: 0; }"
    assert (await harness.get("/v1/site")).json()["picture_url"] == f"http://rapport.test{mark}"
    plain_site = await new_harness(site_hue="")
    assert "/static/theme" not in (await plain_site.get("/")).text
    assert (await plain_site.get("/v1/site")).json()["picture_url"] is None
    assert (await harness.get(mark)).status_code == 404  # a process shows one site


async def test_pages_of_the_site_are_in_its_navigation(new_harness: NewHarness) -> None:
    harness = await new_harness()
    shown = [raw_post(kind="page", slug="about", title="About & more")]
    asked = []

    def posts(call: Call) -> dict[str, Any]:
        if call.params.get("kind") != "page":
            return {"items": [POST], "next": None}
        asked.append(call.caller and call.caller.person_id)
        return {"items": shown, "next": None}

    harness.services.posts.on("GET", "/posts", posts)
    link = '<li><a href="/posts/about"><bdi>About &amp; more</bdi></a></li>'
    for path in ("/", "/sign-in", "/no-such-page", "/docs"):
        assert link in (await harness.get(path)).text
    assert asked == [None]  # once for all pages, as a stranger
    shown.clear()
    harness.gateway.invalidation.post(ID)
    assert link not in (await harness.get("/")).text
    assert link not in (await harness.get("/docs")).text
    harness.gateway.invalidation.post(ID)
    harness.services.posts.on("GET", "/posts", unavailable("Posts is away."))
    assert (await harness.get("/sign-in")).status_code == 200  # a page does not need them


async def test_what_is_somebody_s_own_stands_on_no_page_of_others(new_harness: NewHarness) -> None:
    harness = await new_harness()
    harness.services.notify.on("GET", "/me/attention", {"unread": 3, "follows": False})
    harness.services.comments.on("GET", "/comments/waiting", {"waiting": 120})
    own = (await harness.get("/", **harness.anna)).text
    assert '<span class="unseen">, 3 new</span> <span class="count" aria-hidden="true">3</span>' in own
    assert 'href="/write"' in own
    assert 'href="/moderate"' not in own
    token = harness.token("moderator")
    assert (
        '<span class="unseen">, 120 wait</span> <span class="count" aria-hidden="true">99+<'
        in (await harness.get("/", **token)).text
    )
    stranger = (await harness.get("/")).text
    assert 'class="count"' not in stranger
    assert "/me" not in stranger
    assert '<a href="/sign-in">Sign in</a>' in stranger


async def test_feeds_and_the_api_name_the_site(new_harness: NewHarness) -> None:
    harness = await new_harness(site_name="Beans", site_tagline="Of gardens")
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
        ("site_picture", b"GIF8 is none", "no PNG, JPEG, WebP, GIF or SVG"),
        ("site_picture", b"\x89PNG\r\n\x1a\n" + b"x" * LARGEST_PICTURE, "more than 512 KiB"),
        ("site_picture", "/no/such/file", "cannot be read"),
        ("site_stylesheet", b"\xff", "not text in UTF-8"),
        ("site_stylesheet", b"x" * (LARGEST_STYLE + 1), "more than 256 KiB"),
        ("site_hue", "361", "less than or equal to 360"),
        ("site_language", "xx", "is none of"),
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
