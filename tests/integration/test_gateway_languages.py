"""Pages in the language of who reads them: chosen by a form on every page, by the browser, or by the site."""

import pytest
from pydantic import ValidationError

from services.chassis.errors import invalid
from services.gateway.languages import LANGUAGES
from services.gateway.site import SiteSettings
from tests.integration.gateway_harness import ANNA, ID, SLUG, NewHarness
from tests.unit.gateway_fakes import raw_post

ORIGIN = {"Origin": "http://rapport.test", "Sec-Fetch-Site": "same-origin"}


async def test_a_page_is_in_the_language_that_its_reader_wants(new_harness: NewHarness) -> None:
    harness = await new_harness()
    harness.services.comments.on("POST", "/counts", lambda call: {"counts": dict.fromkeys(call.body["post_ids"], 2)})
    path = f"/posts/{SLUG}"
    for accepted, code, direction, count, ago in (
        ("en", "en", "ltr", "2 comments", " ago"),
        ("de-CH, en;q=0.5", "de", "ltr", "2 Kommentare", "vor "),
        ("ar", "ar", "rtl", "تعليقان", "قبل "),
        ("tlh", "en", "ltr", "2 comments", " ago"),
        ("ar", "ar", "rtl", "تعليقان", "قبل "),
    ):
        answer = await harness.http.get(path, headers={"Accept-Language": accepted})
        assert f'<html lang="{code}" dir="{direction}">' in answer.text
        assert f">{count}</h2>" in answer.text
        assert ago in answer.text or str(LANGUAGES[code].locale) in ("en_GB", "de", "ar")
        assert answer.headers["content-language"] == code
        assert {"Accept-Language", "Cookie"} <= {one.strip() for one in answer.headers["vary"].split(",")}
    asked = [call for call in harness.services.posts.calls if call.path == path]
    assert len(asked) <= len(LANGUAGES)
    for code, language in LANGUAGES.items():
        assert f'lang="{code}" dir="{language.direction}"' in answer.text


async def test_a_choice_is_kept_by_a_cookie_and_leads_back(new_harness: NewHarness) -> None:
    harness = await new_harness()
    path = f"/posts/{SLUG}?comments=x"
    sent = {**ORIGIN, "Referer": f"http://rapport.test{path}"}
    answer = await harness.http.post("/language", data={"language": "de"}, headers=sent)
    assert (answer.status_code, answer.headers["location"]) == (303, path)
    assert answer.headers["set-cookie"].startswith("lang=de; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax")
    page = await harness.http.get("/", headers={"Accept-Language": "ar"})
    assert '<html lang="de"' in page.text
    assert "<h1>Beiträge</h1>" in page.text
    assert "<h1>Hier ist nichts</h1>" in (await harness.http.get("/no-such-page")).text
    unreachable = (await harness.http.get("/posts/none")).text
    assert "<h1>Vorübergehend nicht erreichbar</h1>" in unreachable
    assert "reached" not in unreachable
    site = (await harness.get("/v1/site")).json()
    assert (site["language"], site["languages"]) == ("en", ["en", "de", "ar"])


@pytest.mark.parametrize(
    "referrer", ["https://evil.test/x", "http://rapport.test.evil.test/", "http://rapport.test//evil.test/", None]
)
async def test_a_choice_leads_nowhere_else(new_harness: NewHarness, referrer: str | None) -> None:
    harness = await new_harness()
    sent = ORIGIN | ({"Referer": referrer} if referrer else {})
    answer = await harness.http.post("/language", data={"language": "ar"}, headers=sent)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


async def test_a_language_that_is_none_or_a_foreign_page_is_refused(new_harness: NewHarness) -> None:
    harness = await new_harness()
    answer = await harness.http.post("/language", data={"language": "tlh"}, headers=ORIGIN | {"Accept-Language": "de"})
    assert answer.status_code == 422
    assert "Wählen Sie eine der angebotenen" in answer.text
    foreign = {"Origin": "https://evil.test", "Sec-Fetch-Site": "cross-site"}
    answer = await harness.http.post("/language", data={"language": "de"}, headers=foreign)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


async def test_what_a_service_refuses_is_said_in_the_readers_language(new_harness: NewHarness) -> None:
    harness = await new_harness()
    harness.services.comments.on(
        "POST", f"/posts/{ID}/comments", invalid("body", "must have at most 10,000 characters")
    )
    harness.http.cookies.set("lang", "de")
    answer = await harness.http.post(
        f"/posts/{SLUG}/comments", data={"post_id": ID, "body": "x" * 10_001}, headers=harness.anna
    )
    assert answer.status_code == 422
    assert "Der Text darf höchstens 10.000 Zeichen haben." in answer.text
    api = await harness.http.post(f"/v1/posts/{ID}/comments", json={"body": "x"}, headers=harness.anna)
    assert api.json()["errors"] == [{"field": "body", "message": "must have at most 10,000 characters"}]


async def test_a_site_speaks_its_own_language_to_who_wants_none_of_ours(new_harness: NewHarness) -> None:
    harness = await new_harness(site_language="ar")
    harness.services.posts.on("GET", "/posts", {"items": [raw_post(title="", author_id=ANNA)], "next": None})
    harness.services.posts.on("POST", "/posts/texts/lookup", {"items": []})
    harness.services.comments.on("GET", f"/posts/{ID}/newest", {"items": []})
    assert '<html lang="ar" dir="rtl">' in (await harness.http.get("/", headers={"Accept-Language": "fr"})).text
    feed = await harness.http.get("/feed.atom", headers={"Accept-Language": "de"})
    assert 'xml:lang="ar"' in feed.text
    assert 'xml:lang="ar"' in (await harness.get(f"/posts/{SLUG}/feed.atom")).text
    assert "Accept-Language" not in feed.headers["vary"]
    assert (await harness.get("/v1/site")).json()["language"] == "ar"


def test_a_site_language_is_one_of_ours() -> None:
    with pytest.raises(ValidationError, match="is none of en, de, ar"):
        SiteSettings(site_language="tlh")
    assert SiteSettings(site_language="").site_language == "en"  # an empty variable is none
