"""The pages of one's own account over fake services: what is shown, what is sent, and how refused forms come back."""

import base64
from typing import Any
from uuid import UUID, uuid4

import pytest
from httpx2 import Response

from services.chassis.errors import invalid, not_found, unavailable
from services.gateway.pages.my_sessions import program
from tests.integration.gateway_harness import (
    ANNA,
    COMMENT_ID,
    ID,
    SLUG,
    GatewayHarness,
    NewHarness,
    author,
    refuse_all,
)
from tests.unit.gateway_fakes import answered, raw_comment

ME = {
    "id": ANNA, "name": "Anna", "email": "anna@example.org", "email_confirmed": True, "avatar_url": None,
    "roles": ["author"], "created_at": "2026-11-23T04:35:00.000Z",
}  # fmt: skip
MAIL = {"notifications": True, "scope": "replies", "moderation": "daily"}
NEWEST = "01936f6e-0000-7000-8000-0000000000ff"


def notification(comment_id: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": NEWEST, "comment_id": comment_id, "post_id": ID, "reasons": ["reply_to_you"], "state": "sent",
        "why": None, "created_at": "2026-11-23T04:35:00.000Z", "sent_at": "2026-11-23T04:36:00.000Z", "read": False,
    } | changes  # fmt: skip


@pytest.fixture
async def harness(new_harness: NewHarness) -> GatewayHarness:
    made = await new_harness()
    services = made.services
    services.people.on("GET", "/me", ME)
    services.people.on("PATCH", "/me", ME)
    services.people.on("GET", "/me/sessions", {"items": [], "next": None})
    services.notify.on("GET", "/me/mail", MAIL)
    services.notify.on("PATCH", "/me/mail", MAIL)
    services.notify.on("GET", "/me/notifications", {"items": [notification(COMMENT_ID)], "next": "further"})
    services.notify.on("GET", "/me/attention", {"unread": 3, "follows": False})
    services.notify.on("PATCH", "/me/notifications", {"unread": 0})
    services.notify.on("POST", "/me/feed", lambda _: answered({"token": "t" * 43}, 201))
    services.notify.on("DELETE", "/me/feed", lambda _: answered(None, 204))
    services.people.on("DELETE", "/me", lambda _: answered(None, 202))
    services.posts.on("POST", "/posts/lookup", {"items": [{"id": ID, "status": "published", "slug": SLUG,
                                                           "title": "On <beans>"}]})  # fmt: skip
    return made


PAGES = (
    "/me",
    "/me/comments",
    "/me/sessions",
    "/me/export",
    "/me/mail",
    "/me/notifications",
    f"/me/notifications/{COMMENT_ID}",
)
FORMS = (
    "/me/name",
    "/me/picture/remove",
    "/me/sessions",
    "/me/feed",
    "/me/feed/end",
    "/me/delete",
    "/me/notifications",
    "/me/mail",
)


@pytest.mark.parametrize("path", PAGES)
async def test_a_stranger_is_led_to_sign_in(harness: GatewayHarness, path: str) -> None:
    answer = await harness.get(path)
    assert answer.status_code == 401
    assert ' href="/sign-in">Sign in</a>' in answer.text
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", FORMS)
async def test_nothing_is_done_for_a_stranger_or_for_somebody_else(harness: GatewayHarness, path: str) -> None:
    form = {"for": str(uuid4()), "name": "X", "choice": "all", "sure": "yes", "read_until": NEWEST}
    assert (await harness.http.post(path, data=form)).status_code == 401
    refused = await harness.http.post(path, data=form, headers=harness.anna)
    assert refused.status_code == 409
    assert "opened by somebody else" in refused.text
    written = [call for service in (harness.services.people, harness.services.notify) for call in service.calls
               if call.method not in ("GET", "POST") or call.path == "/me/feed"]  # fmt: skip
    assert written == []


async def test_a_name_is_changed_and_a_refused_one_comes_back(harness: GatewayHarness) -> None:
    done = await harness.http.post("/me/name", data={"for": ANNA, "name": "Anna B."}, headers=harness.anna)
    assert (done.status_code, done.headers["location"]) == (303, "/me?done=name")
    assert "Stored. It shows everywhere" in (await harness.get("/me?done=name", **harness.anna)).text
    harness.services.people.on("PATCH", "/me", invalid("name", "must not be empty"))
    refused = await harness.http.post("/me/name", data={"for": ANNA, "name": "<&>"}, headers=harness.anna)
    assert refused.status_code == 422
    assert 'value="&lt;&amp;&gt;"' in refused.text
    assert "The name must not be empty." in refused.text
    said = {"for": ANNA, "name": "Anna", "about": "Beans <3"}
    for about, sent in (("Beans <3", "Beans <3"), ("  ", None)):
        harness.services.people.on("PATCH", "/me", ME)
        await harness.http.post("/me/name", data=said | {"about": about}, headers=harness.anna)
        assert harness.services.people.last("PATCH", "/me").body == {"name": "Anna", "about": sent}
    harness.services.people.on("PATCH", "/me", invalid("about", "must have at most 500 characters"))
    refused = await harness.http.post("/me/name", data=said, headers=harness.anna)
    assert "What you say of yourself must have at most 500 characters." in refused.text
    assert "\nBeans &lt;3</textarea>" in refused.text
    assert refused.text.count('role="alert"') == 1


@pytest.mark.parametrize("why", ["signed out", "people away", "another site"])
async def test_what_somebody_says_of_themselves_comes_back_though_the_account_cannot_be_shown(
    harness: GatewayHarness, why: str
) -> None:
    session = {"sid": str(uuid4()), "person": author(ANNA) | {"roles": ["reader"]}}
    harness.services.people.on("POST", "/sessions/check", session)
    harness.services.people.away = why == "people away"
    headers = {"signed out": {}, "people away": harness.anna}.get(why, {"Cookie": "rapport=good", "Origin": "null"})
    form = {"for": ANNA, "name": "Anna", "about": "Beans <3"}
    refused = await harness.http.post("/me/name", data=form, headers=headers)
    assert refused.status_code == {"signed out": 401, "people away": 503}.get(why, 403)
    assert "\nBeans &lt;3</textarea>" in refused.text
    assert f'name="for" value="{ANNA}"' in refused.text
    assert refused.text.count('role="alert"') == 1
    assert ("Sign in in a new tab" in refused.text) == (why == "signed out")


@pytest.mark.parametrize("path", [path for path in FORMS if path != "/me/name"])
async def test_a_form_of_another_site_is_not_told_to_sign_in(harness: GatewayHarness, path: str) -> None:
    session = {"sid": str(uuid4()), "person": author(ANNA) | {"roles": ["moderator"]}}
    harness.services.people.on("POST", "/sessions/check", session)
    headers = {"Cookie": "rapport=good", "Origin": "https://elsewhere.example"}
    refused = await harness.http.post(path, data={"for": ANNA}, headers=headers)
    assert (refused.status_code, "did not come from a page of this site" in refused.text) == (403, True)


PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


async def test_a_picture_is_set_refused_in_words_and_taken_away(harness: GatewayHarness) -> None:
    assert "/me/picture/remove" not in (await harness.get("/me", **harness.anna)).text
    people = harness.services.people
    people.on("PUT", "/me/avatar", ME)
    people.on("DELETE", "/me/avatar", lambda _: answered(None, 204))

    async def send(data: bytes) -> Response:
        files = {"picture": ("me.png", data, "image/png")} if data else {}
        return await harness.http.post("/me/picture", data={"for": ANNA}, files=files, headers=harness.anna)

    done = await send(PIXEL)
    assert (done.status_code, done.headers["location"]) == (303, "/me?done=picture#picture")
    sent = people.last("PUT", "/me/avatar")
    assert (sent.body, sent.headers["Content-Type"]) == (PIXEL, "image/png")
    for data, sentence in (
        (b"<svg/>", "The picture must be a PNG, JPEG, WebP or GIF file."),
        (PIXEL + bytes(1024 * 1024), "The picture must have at most 1 MiB."),
    ):
        refused = await send(data)
        assert (refused.status_code, sentence in refused.text) == (422, True)
    people.on("PUT", "/me/avatar", invalid("", "cannot be read as a picture"))
    refused = await send(PIXEL)
    assert "The picture cannot be read as a picture." in refused.text
    assert people.count("PUT", "/me/avatar") == 2

    people.on("GET", "/me", ME | {"avatar_url": "/avatars/a.webp"})
    assert "/me/picture/remove" in (await harness.get("/me", **harness.anna)).text
    gone = await harness.http.post("/me/picture/remove", data={"for": ANNA}, headers=harness.anna)
    assert (gone.status_code, people.count("DELETE", "/me/avatar")) == (303, 1)


FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


async def test_sessions_are_listed_and_ended(harness: GatewayHarness) -> None:
    people, one, other = harness.services.people, str(uuid4()), str(uuid4())
    moments = {"created_at": "2026-11-23T04:35:00.000Z", "last_used_at": "2026-11-24T04:00:00.000Z"}
    people.on("GET", "/me/sessions", {
        "items": [{"id": one, "user_agent": FIREFOX} | moments, {"id": other, "user_agent": "<curl>/8"} | moments],
        "next": "further",
    })  # fmt: skip
    people.on("DELETE", f"/me/sessions/{one}", lambda _: answered(None, 204))
    people.on("DELETE", "/me/sessions", {"ended": [one, other]})
    listed = (await harness.get("/me/sessions", **harness.anna)).text
    assert "Firefox, Linux" in listed
    assert "&lt;curl&gt;/8" in listed
    assert "/me/sessions?cursor=further" in listed
    assert listed.count("last used") == 2
    assert (listed.count("2026-11-23T04:35"), "04:00" in listed) == (2, False)  # what is known to the hour is said so
    form = {"for": ANNA, "session": one}
    ended = await harness.http.post("/me/sessions", data=form, headers=harness.anna)
    assert (ended.status_code, ended.headers["location"]) == (303, "/me/sessions?done=one")
    assert people.count("DELETE", f"/me/sessions/{one}") == 1
    revocations = harness.gateway.revocations
    assert (revocations.has_ended(UUID(one)), revocations.has_ended(UUID(other))) == (True, False)
    assert "You are signed out there" in (await harness.get("/me/sessions?done=one", **harness.anna)).text
    nobody = await harness.http.post("/me/sessions", data={"for": ANNA, "session": "x"}, headers=harness.anna)
    assert (nobody.status_code, 'role="alert"' in nobody.text) == (404, True)


async def test_a_session_was_not_used_before_it_began(harness: GatewayHarness) -> None:
    """What is known of its use is the hour, which begins before the sign-in."""
    moments = {"created_at": "2026-11-23T04:35:00.000Z", "last_used_at": "2026-11-23T04:00:00.000Z"}
    one = {"id": str(uuid4()), "user_agent": FIREFOX} | moments
    harness.services.people.on("GET", "/me/sessions", {"items": [one], "next": None})
    listed = (await harness.get("/me/sessions", **harness.anna)).text
    assert "signed in" in listed
    assert "last used" not in listed


async def test_all_other_sessions_are_ended_at_once(harness: GatewayHarness) -> None:
    people = harness.services.people
    other = uuid4()
    people.on("DELETE", "/me/sessions", {"ended": [str(other)]})
    ended = await harness.http.post("/me/sessions", data={"for": ANNA, "session": "others"}, headers=harness.anna)
    assert (ended.status_code, ended.headers["location"]) == (303, "/me/sessions?done=others")
    assert set(people.last("DELETE", "/me/sessions").body) == {"but"}
    assert harness.gateway.revocations.has_ended(other)


@pytest.mark.parametrize(
    ("user_agent", "shown"),
    [
        (FIREFOX, "Firefox, Linux"),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/140.0 Safari/537.36 Edg/140.0", "Edge, Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 26_0) Version/26 Mobile Safari/604", "Safari, iPhone"),
        ("curl/8.17.0", "curl/8.17.0"),
        ("x" * 300, "x" * 80),
        (None, ""),
    ],
)  # fmt: skip
def test_a_program_is_called_by_its_name(user_agent: str | None, shown: str) -> None:
    assert program(user_agent) == shown


async def test_a_feed_s_address_is_shown_once(harness: GatewayHarness) -> None:
    key = str(uuid4())
    made = await harness.http.post("/me/feed", data={"for": ANNA, "key": key}, headers=harness.anna)
    assert f"http://rapport.test/feeds/{'t' * 43}.atom" in made.text
    assert harness.services.notify.last("POST", "/me/feed").headers == {"Idempotency-Key": key}
    made = await harness.http.post("/me/feed", data={"for": ANNA, "key": "no\nkey"}, headers=harness.anna)
    assert (made.status_code, harness.services.notify.last("POST", "/me/feed").headers) == (200, {})
    assert "/feeds/" not in (await harness.get("/me", **harness.anna)).text
    ended = await harness.http.post("/me/feed/end", data={"for": ANNA}, headers=harness.anna)
    assert ended.headers["location"] == "/me?done=feed"


async def test_an_account_is_deleted_only_on_purpose(harness: GatewayHarness) -> None:
    refused = await harness.http.post("/me/delete", data={"for": ANNA}, headers=harness.anna)
    assert refused.status_code == 422
    assert "Tick the box first" in refused.text
    assert harness.services.people.count("DELETE", "/me") == 0
    done = await harness.http.post("/me/delete", data={"for": ANNA, "sure": "yes"}, headers=harness.anna)
    assert (done.status_code, "Your account is deleted" in done.text) == (200, True)
    assert (await harness.get("/me", **harness.anna)).status_code == 401  # this session has ended here


async def test_notifications_say_who_wrote_where_and_what_is_new(harness: GatewayHarness) -> None:
    page = (await harness.get("/me/notifications", **harness.anna)).text
    assert "3 are new." in page
    assert f'href="/posts/{SLUG}?comment={COMMENT_ID}#c-{COMMENT_ID}"' in page
    assert "On &lt;beans&gt;" in page
    assert page.count("<strong>New:</strong>") == 1
    assert "/me/notifications?cursor=further" in page
    marked = await harness.http.post(
        "/me/notifications", data={"for": ANNA, "read_until": NEWEST}, headers=harness.anna
    )
    assert marked.headers["location"] == "/me/notifications"
    assert harness.services.notify.last("PATCH", "/me/notifications").body == {"read_until": NEWEST}


@pytest.mark.parametrize("state", ["held", "removed"])
async def test_what_is_not_visible_any_more_is_not_shown(harness: GatewayHarness, state: str) -> None:
    harness.services.comments.on("POST", "/comments/lookup", {"items": [raw_comment(1, state=state)]})
    page = (await harness.get("/me/notifications", **harness.anna)).text
    assert "A comment that is not here any more." in page
    assert "beans" not in page


async def test_notifications_are_shown_while_others_are_away(harness: GatewayHarness) -> None:
    harness.services.comments.on("POST", "/comments/lookup", unavailable("Busy."))
    harness.services.posts.on("POST", "/posts/lookup", unavailable("Busy."))
    answer = await harness.get("/me/notifications", **harness.anna)
    assert (answer.status_code, "Mailed" in answer.text) == (200, True)


async def test_a_mail_is_explained_in_words(harness: GatewayHarness) -> None:
    told = {"comment_id": COMMENT_ID, "post_id": ID, "state": "sent", "reasons": [], "why": None, "heard": True,
            "text": "A mail was sent, because <it>.", "created_at": None, "sent_at": None}  # fmt: skip
    harness.services.notify.on("GET", "/me/notifications/explain", told)
    page = await harness.get(f"/me/notifications/{COMMENT_ID}", **harness.anna)
    assert "because &lt;it&gt;." in page.text
    harness.services.notify.on("GET", "/me/notifications/explain", told | {"heard": False})
    harness.services.comments.on("GET", f"/comments/{COMMENT_ID}", not_found())
    assert (await harness.get(f"/me/notifications/{COMMENT_ID}", **harness.anna)).status_code == 404
    assert (await harness.get("/me/notifications/x", **harness.anna)).status_code == 404


async def test_mail_is_chosen_and_a_refused_choice_comes_back(harness: GatewayHarness) -> None:
    page = (await harness.get("/me/mail", **harness.anna)).text
    assert 'value="replies" checked' in page
    assert "moderation" not in page  # an author moderates nothing
    for form, body in (
        ({"choice": "all"}, {"notifications": True, "scope": "all"}),
        ({"choice": "none"}, {"notifications": False}),
        ({"choice": "replies", "moderation": "off"}, {"notifications": True, "scope": "replies", "moderation": "off"}),
    ):
        done = await harness.http.post("/me/mail", data={"for": ANNA} | form, headers=harness.anna)
        assert done.headers["location"] == "/me/mail?done=mail"
        assert harness.services.notify.last("PATCH", "/me/mail").body == body
    for wrong in ({}, {"choice": "some"}, {"choice": "all", "moderation": "weekly"}):
        refused = await harness.http.post("/me/mail", data={"for": ANNA} | wrong, headers=harness.anna)
        assert (refused.status_code, 'role="alert"' in refused.text) == (422, True)


@pytest.mark.parametrize("why", ["signed out", "too often", "people away"])
async def test_chosen_mail_comes_back_where_it_is_not_known_whose_it_is(
    harness: GatewayHarness, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    form, headers = {"for": ANNA, "choice": "none", "moderation": "off"}, harness.anna
    if why == "signed out":
        headers = {}
    elif why == "too often":
        refuse_all(monkeypatch)
    else:
        harness.services.people.away, headers = True, {"Cookie": "rapport=unknown", "Origin": "http://rapport.test"}
    answer = await harness.http.post("/me/mail", data=form, headers=headers)
    assert answer.status_code == {"signed out": 401, "too often": 429, "people away": 503}[why]
    shown = [f'value="{one}" checked' in answer.text for one in ("none", "off", "all", "hourly")]
    assert shown == [True, True, False, False]
    assert (f'name="for" value="{ANNA}"' in answer.text, 'role="alert"' in answer.text) == (True, True)
    assert ('href="/sign-in" target="_blank"' in answer.text) == (why == "signed out")


async def test_what_somebody_wrote_is_listed_with_its_posts(harness: GatewayHarness) -> None:
    gone = raw_comment(7, post_id=str(uuid4()), state="held")
    mine = raw_comment(6, reply_count=2, edited_at="2026-11-23T05:00:00.000Z")
    harness.services.comments.on("GET", "/me/comments", {"items": [mine, gone], "next": "more"})
    page = (await harness.get("/me/comments", **harness.anna)).text
    assert f'href="/posts/{SLUG}?comment={mine["id"]}#' in page.replace("&amp;", "&")
    assert "“<bdi>On &lt;beans&gt;</bdi>”" in page
    assert "2 answers" in page
    assert "Under a post that is not there any more" in page
    assert "waits for approval" in page
    assert 'href="/me/comments?cursor=more"' in page
    assert harness.services.comments.last("GET", "/me/comments").caller.person_id == UUID(ANNA)  # type: ignore[union-attr]
    harness.services.comments.on("GET", "/me/comments", {"items": [], "next": None})
    assert "You have not written a comment yet." in (await harness.get("/me/comments", **harness.anna)).text


async def test_everything_is_taken_along_three_times_an_hour(new_harness: NewHarness, harness: GatewayHarness) -> None:
    limited = await new_harness(rate_limits="on")
    limited.services.people.replies |= harness.services.people.replies
    refused = await limited.get("/me/export", **limited.anna)
    assert refused.status_code == 503  # not all owners answered: no part is taken for everything
    assert "cannot do this just now" in refused.text
    assert '<a class="button" href="/me">' in refused.text
    nothing: dict[str, Any] = {"items": [], "next": None}
    for owner, path in (("people", "/me/sessions"), ("posts", "/me/export/posts"),
                        ("posts", "/me/export/revisions"), ("posts", "/me/export/images"),
                        ("comments", "/me/export/comments"), ("notify", "/me/export/follows"),
                        ("notify", "/me/notifications")):  # fmt: skip
        getattr(limited.services, owner).on("GET", path, nothing)
    limited.services.notify.on("GET", "/me/mail", MAIL)
    for _ in range(2):
        answer = await limited.get("/me/export", **limited.anna)
        assert answer.status_code == 200
        assert answer.headers["content-disposition"] == 'attachment; filename="rapport-export.json"'
        assert answer.json()["me"]["email"] == "anna@example.org"
    refused = await limited.get("/me/export", **limited.anna)
    assert refused.status_code == 429
    assert "That was too often." in refused.text
    assert refused.headers["retry-after"]
    assert 'href="/me/export"' in (await harness.get("/me", **harness.anna)).text
